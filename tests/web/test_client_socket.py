"""A client's bytes: lines and bodies in whatever pieces they come, deadlines, and sends that a client holds up."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from api_host.web.client_socket import ClientSocket, Reader

BODY = bytes(range(256)) * (1 << 15)  # 8 MB


@pytest.fixture
def pair() -> Iterator[tuple[ClientSocket, socket.socket]]:
    ours, theirs = socket.socketpair()
    client = ClientSocket(ours.detach())
    client.allow(10)
    yield client, theirs
    client.close()
    theirs.close()


def later(seconds: float, action: Any, *args: Any) -> threading.Timer:
    timer = threading.Timer(seconds, action, args)
    timer.start()
    return timer


def test_lines_and_a_body_are_told_apart(pair: tuple[ClientSocket, socket.socket]) -> None:
    client, theirs = pair
    reader = Reader(client)
    theirs.sendall(b"one\r\n\r\nbody+GET")
    assert [reader.readline(256), reader.readline(256)] == [b"one\r\n", b"\r\n"]
    assert reader.read(4) == b"body"
    assert reader.has_data()
    theirs.sendall(b" / HTTP/1.1\r\n")
    assert reader.readline(256) == b"+GET / HTTP/1.1\r\n"
    assert not reader.has_data()
    assert reader.bytes_read == len(b"one\r\n\r\nbody+GET / HTTP/1.1\r\n")


def test_a_line_is_never_longer_than_asked_for(pair: tuple[ClientSocket, socket.socket]) -> None:
    client, theirs = pair
    reader = Reader(client)
    theirs.sendall(b"x" * 10 + b"\n")
    assert [reader.readline(4), reader.readline(6), reader.readline(6)] == [b"xxxx", b"xxxxxx", b"\n"]
    assert reader.readline(0) == b""


def test_a_line_may_come_in_pieces(pair: tuple[ClientSocket, socket.socket]) -> None:
    client, theirs = pair
    theirs.sendall(b"begun")
    timer = later(0.05, theirs.sendall, b", and done\nmore")
    assert Reader(client).readline(256) == b"begun, and done\n"
    timer.join()


def test_what_ends_early_is_read_as_far_as_it_came(pair: tuple[ClientSocket, socket.socket]) -> None:
    client, theirs = pair
    reader = Reader(client)
    theirs.sendall(b"half a line")
    theirs.close()
    assert reader.read(4) == b"half"
    assert reader.readline(256) == b" a line"
    assert reader.readline(256) == reader.read(10) == b""


def test_a_large_body_is_read_whole_and_nothing_of_what_follows(
    pair: tuple[ClientSocket, socket.socket],
) -> None:
    client, theirs = pair
    reader = Reader(client)
    timer = later(0, theirs.sendall, BODY + b"GET")
    assert reader.read(len(BODY)) == BODY
    assert reader.read(3) == b"GET"
    timer.join()


@pytest.mark.parametrize("line", [False, True])
def test_drips_do_not_move_the_deadline(pair: tuple[ClientSocket, socket.socket], line: bool) -> None:
    client, theirs = pair
    ended = threading.Event()

    def drip() -> None:
        with contextlib.suppress(OSError):
            while not ended.wait(0.01):
                theirs.send(b"x")

    dripping = threading.Thread(target=drip)
    dripping.start()
    start = time.monotonic()
    client.allow(0.3)
    with pytest.raises(TimeoutError, match=r"^timed out$"):
        Reader(client).readline(10_000) if line else Reader(client).read(10_000)
    assert 0.29 < time.monotonic() - start < 10
    ended.set()
    dripping.join()


def test_a_silence_ends_a_read_before_its_deadline(pair: tuple[ClientSocket, socket.socket]) -> None:
    client, _ = pair
    client.stall = 0.1
    with pytest.raises(TimeoutError, match=r"^timed out$"):
        client.receive(10)
    client.allow(0)
    with pytest.raises(TimeoutError):
        client.receive(10)


def test_a_short_wait_leaves_the_long_ones_alone(pair: tuple[ClientSocket, socket.socket]) -> None:
    client, theirs = pair
    reader = Reader(client)
    assert not reader.arrives(0.01)
    timer = later(0.1, theirs.sendall, b"late\n")
    assert reader.readline(256) == b"late\n"
    timer.join()
    theirs.sendall(b"x")
    assert reader.arrives(0.01)
    assert reader.arrives(0.01)
    assert reader.read(1) == b"x"


def test_the_end_is_something_to_read(pair: tuple[ClientSocket, socket.socket]) -> None:
    client, theirs = pair
    reader = Reader(client)
    theirs.close()
    assert reader.arrives(5)
    assert not reader.has_data()
    assert reader.readline(256) == b""


def test_the_kernel_is_told_no_wait_twice(
    pair: tuple[ClientSocket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[int] = []
    plain = ClientSocket.setsockopt

    def noted(self: ClientSocket, level: int, option: int, value: Any) -> None:
        told.append(option)
        plain(self, level, option, value)

    client, theirs = pair
    reader = Reader(client)
    monkeypatch.setattr(ClientSocket, "setsockopt", noted)
    for _ in range(5):
        theirs.sendall(b"GET\n")
        assert reader.arrives(0.05)
        client.allow(10)
        assert reader.readline(256) == b"GET\n"
        client.deliver(b"fine")
    assert sorted(told) == sorted([socket.SO_RCVTIMEO, socket.SO_SNDTIMEO])


def test_a_client_that_takes_nothing_ends_a_send(pair: tuple[ClientSocket, socket.socket]) -> None:
    client, _ = pair
    client.stall = 0.1
    with pytest.raises(TimeoutError, match=r"^timed out$"):
        client.deliver(BODY)


def test_a_client_that_takes_its_time_gets_all(pair: tuple[ClientSocket, socket.socket]) -> None:
    client, theirs = pair
    client.stall = 1.0
    sending = threading.Thread(target=client.deliver, args=(BODY,))
    sending.start()
    received = b""
    while len(received) < len(BODY):
        received += theirs.recv(1 << 18, socket.MSG_WAITALL)
        sending.join(0.05)  # in all more than a stall
    assert received == BODY
    sending.join()
