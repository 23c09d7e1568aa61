"""What leaves in one send: a head with the first piece of its body, and a head alone where there is no body."""

from __future__ import annotations

import dataclasses
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from api_host.generation import Accepted
from api_host.web import connection
from api_host.web.client_socket import ClientSocket
from api_host.web.server import Server
from tests.fakes.pipeline import FakePipeline, answer
from tests.web.site import Site, read_all

App = Callable[[dict[str, Any], Any], Any]


@pytest.fixture
def sends(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """All that is sent to clients, a send an entry."""
    sent: list[bytes] = []
    deliver = ClientSocket.deliver

    def noted(self: ClientSocket, data: bytes) -> None:
        sent.append(data)
        deliver(self, data)

    monkeypatch.setattr(ClientSocket, "deliver", noted)
    return sent


@contextmanager
def served(app: App) -> Iterator[Callable[[str], bytes]]:
    """Asks a server of ``app`` with a method, for all that it answers."""
    server = Server(app, "127.0.0.1", 0, threads=2)
    port = server.start()

    def ask(method: str) -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
            sock.sendall(f"{method} / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            return read_all(sock)

    try:
        yield ask
    finally:
        server.stop()


def test_a_plain_answer_is_one_send(site: Site, sends: list[bytes]) -> None:
    assert site.post({"inputs": "Hi"}).status_code == 200
    assert len(sends) == 1
    assert sends[0].startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Hello there" in sends[0]


def test_a_refusal_is_one_send(site: Site, sends: list[bytes]) -> None:
    assert site.post({"inputs": 5}).status_code == 400
    assert len(sends) == 1


def test_the_head_of_a_stream_travels_with_its_first_piece(
    site: Site, pipeline: FakePipeline, sends: list[bytes]
) -> None:
    pipeline.script = lambda request: answer("one", "two")
    assert site.post({"inputs": "Hi", "stream": True}).status_code == 200
    assert sends[0].startswith(b"HTTP/1.1 200 OK\r\n")
    assert sends[0].endswith(b"\r\n\r\n3\r\n:\n\n\r\n")  # accepted, and nothing to show yet
    assert b'"one"' in sends[1]
    assert b'"two"' in sends[2]


def test_text_that_is_there_at_once_travels_with_the_head_too(
    site: Site, pipeline: FakePipeline, sends: list[bytes]
) -> None:
    accepted, *rest = answer("one", "two")
    assert isinstance(accepted, Accepted)
    pipeline.script = lambda request: [dataclasses.replace(accepted, followed=True), *rest]
    assert site.post({"inputs": "Hi", "stream": True}).status_code == 200
    assert sends[0].startswith(b"HTTP/1.1 200 OK\r\n")
    assert b'"one"' in sends[0]
    assert b'"two"' in sends[1]


def test_a_piece_of_a_stream_does_not_wait_for_the_next(sends: list[bytes]) -> None:
    seen: list[int] = []

    def pieces() -> Iterator[bytes]:
        for piece in (b"a", b"b"):
            yield piece
            seen.append(len(sends))

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [])
        return pieces()

    with served(app) as ask:
        assert ask("GET").endswith(b"1\r\na\r\n1\r\nb\r\n0\r\n\r\n")
    assert seen == [1, 2]


@pytest.mark.parametrize(
    ("method", "status", "headers"),
    [
        ("HEAD", "200 OK", [("Content-Length", "7")]),
        ("HEAD", "200 OK", []),
        ("GET", "204 No Content", []),
        ("GET", "304 Not Modified", [("ETag", '"x"')]),
        ("GET", "200 OK", [("Content-Length", "0")]),
        ("GET", "200 OK", []),
    ],
)
def test_the_head_goes_out_without_a_body(method: str, status: str, headers: list[tuple[str, str]]) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response(status, headers)
        return iter([b"", b""])

    with served(app) as ask:
        head, _, body = ask(method).partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status}\r\n".encode())
    assert body == (b"0\r\n\r\n" if b"chunked" in head else b"")


@pytest.mark.parametrize("before", [[], [b"begun"]])
def test_the_head_goes_out_when_the_body_fails(before: list[bytes]) -> None:
    def failing() -> Iterator[bytes]:
        yield from before
        raise RuntimeError("the body fails, as the test wants it")

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [("Content-Length", "50")])
        return failing()

    with served(app) as ask:
        head, _, body = ask("GET").partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert body == b"".join(before)


def test_every_answer_tells_its_second_once(monkeypatch: pytest.MonkeyPatch) -> None:
    headers: list[tuple[str, str]] = []
    clock = iter((0.0, 0.9, 1.0))

    class Time:
        @staticmethod
        def time() -> float:
            return next(clock)

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", headers)
        return [b"x"]

    monkeypatch.setattr(connection, "time", Time)
    with served(app) as ask:
        told = [_dates(ask("GET")) for _ in range(3)]
        headers.append(("date", "Fri, 02 Jan 1970 00:00:00 GMT"))
        told.append(_dates(ask("GET")))
    assert told == [
        [b"Thu, 01 Jan 1970 00:00:00 GMT"],
        [b"Thu, 01 Jan 1970 00:00:00 GMT"],
        [b"Thu, 01 Jan 1970 00:00:01 GMT"],
        [b"Fri, 02 Jan 1970 00:00:00 GMT"],
    ]


def _dates(answer: bytes) -> list[bytes]:
    head = [line.partition(b": ") for line in answer.partition(b"\r\n\r\n")[0].split(b"\r\n")]
    return [value for name, _, value in head if name.lower() == b"date"]


def test_a_failure_before_the_head_is_told_in_one_send(sends: list[bytes]) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Any:
        raise RuntimeError("the application fails, as the test wants it")

    with served(app) as ask:
        assert ask("GET").startswith(b"HTTP/1.1 500 ")
    assert len(sends) == 1
