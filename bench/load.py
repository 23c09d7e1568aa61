"""The load generator: one thread, raw sockets, a timestamp for every event.

Light, because it shares the cores with what it measures: while a load runs, bytes are read, cut and stamped; what they
mean is found out afterwards. Knows nothing of dialects or of workloads.
"""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Callable
from types import TracebackType

from bench.sse import HttpAnswer

RECEIVE_BYTES = 1 << 16


class LoadFailed(Exception):
    """A server refused a request, broke off its answer, or took too long."""


def http_post(path: str, body: bytes, keep_alive: bool = False) -> bytes:
    """A whole POST request with a JSON body."""
    connection = "keep-alive" if keep_alive else "close"
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: {connection}\r\n\r\n"
    )
    return head.encode() + body


class Exchange:
    """One request on its own connection, and its answer as it comes. ``sent`` is the clock's time of sending."""

    def __init__(self, sock: socket.socket, request: bytes) -> None:
        self.sock = sock
        self.request = request
        self.sent = 0.0
        self.answer = HttpAnswer()

    @property
    def n_events(self) -> int:
        return len(self.answer.events)


class Load:
    """Requests to one server on this machine. Use it as a context; connections end with it.

    Args:
        port: of 127.0.0.1.
        timeout: seconds that ``run`` may take before it raises LoadFailed.
    """

    def __init__(self, port: int, timeout: float = 900.0) -> None:
        self._address = ("127.0.0.1", port)
        self._timeout = timeout
        self._selector = selectors.DefaultSelector()
        self._open: set[Exchange] = set()

    def __enter__(self) -> Load:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for exchange in list(self._open):
            self._close(exchange)
        self._selector.close()

    def send(self, *requests: bytes) -> list[Exchange]:
        """Connects once for each request, then sends them all, so that none has a head start of a handshake."""
        exchanges = [Exchange(self._connect(), request) for request in requests]
        for exchange in exchanges:
            self._open.add(exchange)
            self._selector.register(exchange.sock, selectors.EVENT_READ, exchange)
        for exchange in exchanges:
            exchange.sent = time.perf_counter()
            exchange.sock.sendall(exchange.request)
            exchange.sock.setblocking(False)
        return exchanges

    def run(self, until: Callable[[], bool] = lambda: False) -> None:
        """Reads until every answer is whole, or ``until`` is true after an event.

        Raises:
            LoadFailed: with the server's own words, or because the time is up.
        """
        deadline = time.perf_counter() + self._timeout
        while self._open and not until():
            left = deadline - time.perf_counter()
            ready = self._selector.select(left) if left > 0 else []
            if not ready:
                raise LoadFailed(f"no answer within {self._timeout:g} s")
            for key, _ in ready:
                self._read(key.data)

    def _connect(self) -> socket.socket:
        sock = socket.create_connection(self._address, timeout=30)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def _read(self, exchange: Exchange) -> None:
        answer = exchange.answer
        try:
            data = exchange.sock.recv(RECEIVE_BYTES)
            now = time.perf_counter()
            if data:
                answer.feed(now, data)
            else:
                answer.close()
        except ConnectionError as error:
            raise LoadFailed(str(error)) from error
        if answer.done:
            self._close(exchange)
            if answer.status != 200:
                raise LoadFailed(
                    f"status {answer.status}: {bytes(answer.body[:300]).decode(errors='replace')}"
                )

    def _close(self, exchange: Exchange) -> None:
        self._open.discard(exchange)
        self._selector.unregister(exchange.sock)
        exchange.sock.close()
