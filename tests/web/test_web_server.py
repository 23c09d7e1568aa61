"""The server: ports, limits, cuts and stops, on real sockets."""

from __future__ import annotations

import concurrent.futures
import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any
from wsgiref.validate import validator

import pytest
import requests
from cheroot import wsgi

from api_host.web import connection
from api_host.web import server as server_module
from api_host.web.server import Server
from api_host.web.streaming import SOCKET_KEY, WATCH_KEY
from tests.fakes.pipeline import FakePipeline, answer
from tests.web.site import ENDLESS, TOKEN, Site, read_all, until


def test_pipelined_requests_are_answered_in_turn(site: Site) -> None:
    sock = site.raw({"inputs": "Hi"})
    sock.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    data = read_all(sock)
    assert data.count(b"200 OK") == 2
    assert data.index(b"Hello there") < data.index(b"1.2.3")


def test_a_stop_cuts_live_connections_and_leaves_nothing() -> None:
    before = set(threading.enumerate())
    site = Site(FakePipeline())
    site.pipeline.script = lambda request: ENDLESS
    streams = [site.raw({"inputs": "Hi", "stream": stream}) for stream in (True, True, False)]
    dripping = socket.create_connection(("127.0.0.1", site.port), timeout=10)
    dripping.sendall(b"POST /api HT")
    assert until(lambda: len(site.pipeline.generations) == 3)
    start = time.monotonic()
    site.close()
    assert time.monotonic() - start < 4  # it would wait 5 s for what it has not cut
    assert all(generation.ended.is_set() for generation in site.pipeline.generations)
    for sock in [*streams, dripping]:
        assert b"\r\n0\r\n" not in read_all(sock)  # cut, not ended as if whole
        sock.close()
    assert until(lambda: set(threading.enumerate()) <= before)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", site.port), timeout=1)
    site.server.stop()


def test_a_stop_does_not_wait_for_a_request_that_never_ends() -> None:
    began, release = threading.Event(), threading.Event()

    def stuck(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        began.set()
        release.wait(30)
        start_response("204 No Content", [])
        yield b""

    server = Server(stuck, "127.0.0.1", 0, threads=2)
    sock = socket.create_connection(("127.0.0.1", server.start()), timeout=10)
    sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert began.wait(10)
    start = time.monotonic()
    server.stop(timeout=0.3)
    assert time.monotonic() - start < 10
    release.set()
    sock.close()


def test_a_taken_port_moves_on_to_the_next() -> None:
    taken = socket.create_server(("127.0.0.1", 0))
    first = taken.getsockname()[1]
    server = Server(FakePipelineApp, "127.0.0.1", first, threads=2)
    try:
        port = server.start()
        assert first < port <= first + 50
        assert requests.get(f"http://127.0.0.1:{port}", timeout=5).text == "fine"
    finally:
        server.stop()
        taken.close()


def test_an_application_is_told_of_a_request_as_wsgi_wants_and_cheroot_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[tuple[dict[str, Any], dict[str, Any]]] = []

    class Both(server_module._Gateway):
        def get_environ(self) -> Any:
            ours = super().get_environ()
            # A copy, for the validator wraps what is in it.
            told.append((dict(ours), wsgi.Gateway_10.get_environ(self)))
            return ours

    monkeypatch.setattr(server_module, "_Gateway", Both)
    server = Server(validator(FakePipelineApp), "127.0.0.1", 0, threads=2)
    sock = socket.create_connection(("127.0.0.1", server.start()), timeout=10)
    try:
        sock.sendall(
            b"POST /a%20b//c;d?q=%C3%A9&q=2 HTTP/1.1\r\nHost: x:1\r\ncontent-TYPE: text/plain\r\n"
            b"Content-Length: 3\r\nX-Api-Key: \xe9\r\nAccept: a\r\nAccept: b\r\nUnder_score: 1\r\n"
            b"Connection: close\r\n\r\nabc"
        )
        assert read_all(sock).endswith(b"\r\n\r\nfine")
    finally:
        sock.close()
        server.stop()
    [(ours, theirs)] = told
    assert {key: theirs[key] for key in ours if key in theirs} == {
        key: value for key, value in ours.items() if key not in (SOCKET_KEY, WATCH_KEY)
    }
    assert set(theirs) - set(ours) == {"ACTUAL_SERVER_PROTOCOL", "REMOTE_PORT", "SERVER_SOFTWARE"}


def FakePipelineApp(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Length", "4"), ("Content-Type", "text/plain")])
    return [b"fine"]


def test_an_address_of_another_machine_is_an_error() -> None:
    before = threading.active_count()
    with pytest.raises(OSError):
        Server(FakePipelineApp, "192.0.2.1", 0, threads=2).start()
    assert until(lambda: threading.active_count() <= before)


def test_a_full_queue_is_answered_with_503_at_once() -> None:
    working, release = list[threading.Thread](), threading.Event()

    def slow(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        working.append(threading.current_thread())
        release.wait(30)
        return FakePipelineApp(environ, start_response)

    server = Server(slow, "127.0.0.1", 0, threads=2, queue_limit=2)
    url = f"http://127.0.0.1:{server.start()}"
    try:
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            waiting = [pool.submit(requests.get, url, timeout=20) for _ in range(4)]
            assert until(lambda: len(working) == 2 and server._http.requests.qsize == 2)
            for _ in range(3):
                refused = requests.post(url, data=b"x" * 100_000, timeout=5)
                assert refused.status_code == 503
                assert refused.headers["Retry-After"] == "1"
                assert refused.json()["code"] == "host_busy"
            release.set()
            assert [future.result().text for future in waiting] == ["fine"] * 4
        assert requests.get(url, timeout=5).text == "fine"
    finally:
        release.set()
        server.stop()


def test_64_connections_are_kept_alive(site: Site) -> None:
    request = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
    socks = [socket.create_connection(("127.0.0.1", site.port), timeout=10) for _ in range(64)]
    for _ in range(3):
        for sock in socks:
            sock.sendall(request)
        for sock in socks:
            head = b""
            while not head.rstrip().endswith(b"}"):
                piece = sock.recv(4096)
                assert piece
                head += piece
            assert b"connection: close" not in head.lower()
    for sock in socks:
        sock.close()


def test_idle_connections_do_not_take_threads(site: Site) -> None:
    idle = [socket.create_connection(("127.0.0.1", site.port)) for _ in range(40)]  # of 16 threads
    assert site.post({"inputs": "Hi"}).status_code == 200
    for sock in idle:
        sock.close()


def test_a_client_that_says_nothing_is_cut(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEAD_S", 0.1)
    with socket.create_connection(("127.0.0.1", site.port), timeout=10) as sock:
        assert read_all(sock) == b""


def test_a_client_that_drips_its_request_is_cut(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEAD_S", 0.3)
    sock = socket.create_connection(("127.0.0.1", site.port), timeout=10)
    start = time.monotonic()
    sock.sendall(b"GET /health HTTP/1.1\r\n")
    answer_bytes = b""
    sock.settimeout(0.05)
    while time.monotonic() - start < 12:
        try:
            sock.sendall(b"X: y\r\n")
            piece = sock.recv(4096)
        except TimeoutError:
            continue
        except OSError:
            break
        answer_bytes += piece
        if not piece:
            break
    sock.close()
    assert time.monotonic() - start < 10
    assert b"408" in answer_bytes


def test_a_client_that_stalls_in_its_body_is_cut(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection.ClientSocket, "stall", 0.2)
    sock = socket.create_connection(("127.0.0.1", site.port), timeout=10)
    head = f"POST /api HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 50\r\n\r\n"
    sock.sendall(head.encode() + b"{")
    start = time.monotonic()
    data = read_all(sock)
    assert data.startswith(b"HTTP/1.1 400") and b'"body_cut"' in data
    assert time.monotonic() - start < 8
    sock.close()


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET /health HTTP/1.1\r\nA: " + b"x" * 70_000 + b"\r\n\r\n", b"413"),
        (b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n", b"414"),
        (b"POST /api HTTP/1.1\r\nContent-Length: -5\r\n\r\n", b"400"),
        (b"POST /api HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", b"413"),
        (b"POST /api HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"400"),
        (b"POST /api HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", b"501"),
    ],
)
def test_broken_http_is_refused_in_json(site: Site, request_bytes: bytes, status: bytes) -> None:
    sock = socket.create_connection(("127.0.0.1", site.port), timeout=10)
    sock.sendall(request_bytes)
    sock.shutdown(socket.SHUT_WR)
    head, _, body = read_all(sock).partition(b"\r\n\r\n")
    assert head.split()[1] == status
    assert {"error", "code"} <= set(json.loads(body))
    sock.close()


@pytest.mark.parametrize("chunks", [b"zz\r\n", b"5\r\nabcdefg\r\n", b"5\r\nab", b"\r\n\r\n", b"-1\r\n"])
def test_a_broken_chunked_body_is_refused(site: Site, chunks: bytes) -> None:
    sock = socket.create_connection(("127.0.0.1", site.port), timeout=10)
    head = f"POST /api HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nTransfer-Encoding: chunked\r\n\r\n"
    sock.sendall(head.encode() + chunks)
    sock.shutdown(socket.SHUT_WR)
    data = read_all(sock)
    sock.close()
    assert data.startswith(b"HTTP/1.1 400") and b'"body_cut"' in data, data
    assert data.count(b"HTTP/1.1") == 1


def test_an_old_client_gets_its_stream_without_chunked_framing(site: Site) -> None:
    sock = socket.create_connection(("127.0.0.1", site.port), timeout=10)
    body = b'{"inputs": "Hi", "stream": true}'
    head = f"POST /api HTTP/1.0\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: {len(body)}\r\n\r\n"
    sock.sendall(head.encode() + body)
    data = read_all(sock)
    sock.close()
    assert b"chunked" not in data
    assert data.endswith(b"\n\n")


@pytest.mark.parametrize("options", ["close", "Close", "keep-alive, CLOSE"])
def test_a_client_that_asks_for_the_end_of_its_connection_gets_it(site: Site, options: str) -> None:
    with socket.create_connection(("127.0.0.1", site.port), timeout=10) as sock:
        sock.sendall(f"GET /health HTTP/1.1\r\nHost: x\r\nConnection: {options}\r\n\r\n".encode())
        assert b"\r\nConnection: close\r\n" in read_all(sock)


def test_a_refusal_reaches_a_client_that_sends_all_before_it_reads(site: Site) -> None:
    with socket.create_connection(("127.0.0.1", site.port), timeout=10) as sock:
        size = 40_000_000
        sock.sendall(f"POST /api HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n".encode())
        sock.sendall(b"x" * size)
        sock.shutdown(socket.SHUT_WR)
        assert read_all(sock).startswith(b"HTTP/1.1 413")


def test_the_server_does_not_name_its_software(site: Site) -> None:
    assert requests.get(site.url + "/health", timeout=5).headers["Server"] == "api-host"


def test_chunks_leave_without_delay(site: Site, pipeline: FakePipeline) -> None:
    pipeline.script = lambda request: answer(*["x"] * 2000)
    start = time.monotonic()
    assert site.post({"inputs": "Hi", "stream": True}).content.count(b'"x"') == 2000
    assert time.monotonic() - start < 20  # of 80 s that as many delays of 40 ms are
