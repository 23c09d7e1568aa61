"""A loopback HTTP server for the load generator: answers POSTs with the pieces and pauses it is given.

Knows nothing of the bench: bytes go out as they are scripted, each piece in a packet of its own.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from types import TracebackType

Piece = tuple[float, bytes]
"""Seconds to wait, then the bytes to send."""

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    """One chunk of the chunked transfer coding."""
    return b"%x\r\n%b\r\n" % (len(data), data)


class EventServer:
    """Serves until the ``with`` block ends.

    Args:
        script: from a request's body to the pieces of its answer; the connection stays open when the last piece
            is empty, and is closed otherwise.
    """

    def __init__(self, script: Callable[[bytes], list[Piece]]) -> None:
        self._script = script
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads: list[threading.Thread] = []
        self._connections: list[socket.socket] = []
        self.port = int(self._listener.getsockname()[1])
        self.n_requests = 0
        self._lock = threading.Lock()

    def __enter__(self) -> EventServer:
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._threads[0].join(5)
        for connection in self._connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # the client or the script has ended it already
        for thread in self._threads:
            thread.join(5)

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connections.append(connection)
            self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as requests:
            try:
                while (body := _read_request(requests)) is not None:
                    with self._lock:
                        self.n_requests += 1
                    if not self._answer(connection, body):
                        return
            except OSError:
                return  # the client has gone, as it may at any time

    def _answer(self, connection: socket.socket, body: bytes) -> bool:
        """Sends the pieces; True when the connection stays."""
        last = b""
        for pause, last in self._script(body):
            time.sleep(pause)
            connection.sendall(last)
        return last == b""


def _read_request(requests: object) -> bytes | None:
    """The body of the next request, or None at the end of the connection."""
    readline, read = requests.readline, requests.read  # type: ignore[attr-defined]
    if not readline():
        return None
    length = 0
    while (line := readline()) not in (b"\r\n", b""):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    return bytes(read(length))
