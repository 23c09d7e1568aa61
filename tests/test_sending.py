"""Sending all of something, whatever the socket takes at once."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
from collections.abc import Iterator

import pytest

from api_host.sending import send_all


def received(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size and (piece := sock.recv(size - len(data))):
        data += piece
    return data


def test_more_than_the_buffer_takes_arrives_whole_and_in_order():
    ours, theirs = socket.socketpair()
    sent = bytes(range(256)) * 40_000
    with ours, theirs:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        writer = threading.Thread(target=send_all, args=(ours, sent))
        writer.start()
        assert received(theirs, len(sent)) == sent
        writer.join()


def test_what_fits_needs_no_reader():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        send_all(ours, b"abc")
        send_all(ours, b"")
        send_all(ours, b"def")
        assert received(theirs, 6) == b"abcdef"


@pytest.mark.parametrize("end", [0, 1], ids=["the other side has gone", "this side is closed"])
def test_an_error_is_told_as_sendall_tells_it(end: int):
    pair = socket.socketpair()
    pair[1 - end].close()
    with pair[end], pytest.raises(OSError):
        send_all(pair[0], b"abc")


@pytest.fixture
def restless() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("restless")
def test_what_is_for_a_closed_socket_reaches_none_that_has_its_number_now():
    def send_on(sock: socket.socket, begun: threading.Event) -> None:
        begun.set()
        with contextlib.suppress(OSError):
            for _ in range(50):
                send_all(sock, b"not for others")

    for _ in range(2000):
        ours, theirs = socket.socketpair()
        begun = threading.Event()
        sender = threading.Thread(target=send_on, args=(ours, begun))
        sender.start()
        begun.wait()
        ours.close()
        others = socket.socketpair()
        sender.join()
        for other in others:
            other.setblocking(False)
            with pytest.raises(BlockingIOError):
                other.recv(1)
        for sock in (theirs, *others):
            sock.close()
