"""WebSockets on the real server: handshakes, limits, farewells and abrupt ends, with a real client and raw sockets."""

from __future__ import annotations

import json
import logging
import socket
import struct
import threading
import time
from collections.abc import Iterator

import pytest
import websocket

from api_host.web import open_socket, sockets
from api_host.web.sockets import Socket
from tests.web.line import Line, frame, read, upgraded
from tests.web.site import read_all, until


def opens(line: Line) -> bool:
    try:
        line.open().close()
    except websocket.WebSocketBadStatusException:
        return False
    return True


def readers() -> int:
    return sum(thread.name == "api-host-socket" for thread in threading.enumerate())


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    monkeypatch.setattr(sockets, "MAX_OPEN", 3)
    line = Line()
    yield line
    line.site.close()
    assert until(lambda: readers() == 0)


def test_messages_come_and_go(line: Line) -> None:
    client = line.open()
    client.send("Grüße 🌍")
    assert client.recv() == "Grüße 🌍"
    client.send_binary(b"\x00\xff")
    assert client.recv() == repr(b"\x00\xff")
    client.close()
    assert client.sock is None


def test_a_message_in_pieces_is_one_message(line: Line) -> None:
    with line.raw() as sock:
        upgraded(sock)
        text = "ä🌍".encode()
        sock.sendall(frame(1, text[:1], last=False) + frame(9, b"?") + frame(0, text[1:3], last=False))
        sock.sendall(frame(0, text[3:]))
        # The ping between them is answered before the message is whole.
        assert read(sock, 11) == b"\x8a\x01?" + b"\x81\x06" + text


@pytest.mark.parametrize("more", ["", "Authorization: Bearer no\r\n"])
@pytest.mark.parametrize("path", ["/line", "/line?token=no"])
def test_a_wrong_token_is_refused_in_plain_http(line: Line, path: str, more: str) -> None:
    with line.raw(path, more + "Connection: close\r\n") as sock:
        head = upgraded(sock)
    assert head.startswith(b"HTTP/1.1 403")


def test_a_get_that_is_no_handshake_is_told_so(line: Line) -> None:
    answer = line.site.get("/line")
    assert answer.status_code == 426
    assert answer.headers["Upgrade"] == "websocket"
    assert "WebSocket" in answer.json()["error"]
    assert line.site.post({}, "/line").status_code == 405


@pytest.mark.parametrize("missing", ["Sec-WebSocket-Key", "Sec-WebSocket-Version", "Connection"])
def test_a_handshake_that_is_not_complete_is_a_400(line: Line, missing: str) -> None:
    headers = {"Upgrade": "websocket", "Connection": "Upgrade"}
    headers |= {"Sec-WebSocket-Key": "x", "Sec-WebSocket-Version": "13"}
    del headers[missing]
    answer = line.site.get("/line", headers=headers)
    assert answer.status_code == 400
    assert "handshake" in answer.json()["error"][0]


def test_one_socket_too_many_gets_a_503_and_a_closed_one_makes_room(line: Line) -> None:
    clients = [line.open() for _ in range(3)]
    with pytest.raises(websocket.WebSocketBadStatusException) as refused:
        line.open()
    assert refused.value.status_code == 503
    assert refused.value.resp_headers["retry-after"] == "5"
    assert json.loads(refused.value.resp_body)["code"] == "too_many_sockets"
    clients[0].close()
    assert until(lambda: opens(line))
    for client in clients[1:]:
        client.close()


def test_a_message_that_is_too_large_ends_the_socket(line: Line) -> None:
    client = line.open()
    client.send("x" * 900_000)
    assert len(client.recv()) == 900_000
    client.send("x" * 3_000_000)
    opcode, payload = client.recv_data()
    assert (opcode, payload[:2]) == (websocket.ABNF.OPCODE_CLOSE, struct.pack(">H", 1009))
    assert b"1000000 bytes" in payload


def test_messages_wait_while_the_view_is_busy_but_not_without_end(line: Line) -> None:
    release, seen = threading.Event(), []

    def busy(sock: Socket) -> None:
        release.wait(5)
        while True:
            seen.append(sock.receive())

    line.view = busy
    client = line.open()
    for number in range(5):
        client.send(f"{number}" + "x" * 900_000)
    opcode, payload = client.recv_data()
    assert (opcode, payload[:2]) == (websocket.ABNF.OPCODE_CLOSE, struct.pack(">H", 1008))
    release.set()
    assert until(lambda: len(seen) == 4)
    assert [message[0] for message in seen] == ["0", "1", "2", "3"]


def go(sock: socket.socket, end: str) -> None:
    if end in ("close", "garbage"):
        sock.sendall(frame(8, struct.pack(">H", 1001)) if end == "close" else b"\xff" * 10)
    elif end == "shut":
        sock.shutdown(socket.SHUT_WR)
    else:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        sock.close()


@pytest.mark.parametrize("end", ["close", "shut", "reset", "garbage"])
def test_the_view_is_told_at_once_when_the_client_goes(line: Line, end: str) -> None:
    told, ended = threading.Event(), threading.Event()

    def view(sock: Socket) -> None:
        sock.on_gone(told.set)
        sock.send("ready")
        assert told.wait(20)
        assert sock.closed
        sock.on_gone(ended.set)

    line.view = view
    with line.raw() as sock:
        upgraded(sock)
        assert sock.recv(100)
        go(sock, end)
        assert told.wait(10)
        assert ended.wait(10)  # asked for after the end: told at once


def test_nothing_follows_the_farewell(line: Line) -> None:
    line.view = lambda sock: sock.send("bye")
    with line.raw() as sock:
        upgraded(sock)
        started = time.monotonic()
        assert read_all(sock) == b"\x81\x03bye\x88\x02" + struct.pack(">H", 1000)
        assert time.monotonic() - started < 8  # also when the client does not answer


def test_a_view_can_say_why_it_closes(line: Line) -> None:
    line.view = lambda sock: sock.close(1008, "because")
    client = line.open()
    opcode, payload = client.recv_data()
    assert (opcode, payload) == (websocket.ABNF.OPCODE_CLOSE, struct.pack(">H", 1008) + b"because")


def test_a_view_that_crashes_tells_an_id_and_no_more(line: Line, caplog: pytest.LogCaptureFixture) -> None:
    line.view = lambda sock: 1 / 0  # type: ignore[assignment,return-value]
    with caplog.at_level(logging.ERROR):
        client = line.open()
        opcode, payload = client.recv_data()
    assert (opcode, payload[:2]) == (websocket.ABNF.OPCODE_CLOSE, struct.pack(">H", 1011))
    incident = payload.decode(errors="replace").rpartition(" ")[2]
    assert f"internal error {incident}" in caplog.text
    assert b"division" not in payload


def test_receiving_can_wait_for_a_while_only(line: Line) -> None:
    def view(sock: Socket) -> None:
        started = time.monotonic()
        nothing = sock.receive(0.1)
        sock.send(f"{nothing} {0.05 < time.monotonic() - started < 8}")

    line.view = view
    client = line.open()
    assert client.recv() == "None True"


def test_pings_keep_a_silent_socket_open(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_socket, "PING_S", 0.5)
    client = line.open()
    for _ in range(3):
        opcode, _ = client.recv_data(control_frame=True)  # answers with a pong
        assert opcode == websocket.ABNF.OPCODE_PING
    client.send("still here")
    assert client.recv() == "still here"
    client.close()


def test_a_client_that_answers_no_ping_is_gone(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_socket, "PING_S", 0.1)
    with line.raw() as sock:
        upgraded(sock)
        data = read_all(sock)
    assert data.startswith(b"\x89\x00")
    assert until(lambda: readers() == 0)


def test_a_client_that_reads_nothing_does_not_hold_its_view(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_socket, "PING_S", 0.2)
    ended = threading.Event()

    def flood(sock: Socket) -> None:
        try:
            while True:
                sock.send("x" * 500_000)
        finally:
            ended.set()

    line.view = flood
    with line.raw() as sock:
        upgraded(sock)
        assert ended.wait(15)


def test_the_stop_of_the_server_ends_sockets_soon() -> None:
    before = set(threading.enumerate())
    line = Line()
    generating = threading.Event()

    def view(sock: Socket) -> None:
        cancelled = threading.Event()
        sock.on_gone(cancelled.set)
        generating.set()
        cancelled.wait(30)

    idle = line.open()
    line.view = view
    busy = line.open()
    assert generating.wait(5)
    started = time.monotonic()
    line.site.close()
    assert time.monotonic() - started < 4  # it would wait 5 s for what it has not ended
    assert until(lambda: set(threading.enumerate()) <= before)
    idle.shutdown()
    busy.shutdown()


def test_a_socket_is_counted_once_it_has_ended(line: Line) -> None:
    line.open().close()
    counted = 'api_host_requests_total{dialect="line",route="/line",status="101"} 1.0'
    assert until(lambda: counted in line.site.get("/metrics").text)
