"""Refusing connections that come above the limit: at once, and so that the client can read why.

Knows connections, not who decides that there are too many.
"""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
import time
from collections import deque

from api_host.web.connection import Connection

_LINGER_S = 1.0
_LINGERING = 128
_DISCARD_READS = 64


class TurnedAway:
    """Refuses connections from a thread of its own, and closes them once the refusal could be read."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[tuple[Connection, bytes] | None] = queue.SimpleQueue()
        self._lingering: deque[tuple[float, Connection]] = deque()
        self._thread = threading.Thread(target=self._run, name="api-host-turn-away", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def put(self, conn: Connection, answer: bytes) -> None:
        self._queue.put((conn, answer))

    def stop(self) -> None:
        self._queue.put(None)
        self._thread.join()
        self._close_until(float("inf"))

    def _run(self) -> None:
        while True:
            try:
                entry = self._queue.get(timeout=_LINGER_S if self._lingering else None)
            except queue.Empty:
                self._close_until(time.monotonic())
                continue
            if entry is None:
                return
            self._refuse(*entry)
            self._close_until(time.monotonic(), keep=_LINGERING)

    def _refuse(self, conn: Connection, answer: bytes) -> None:
        with contextlib.suppress(OSError):
            conn.socket.setblocking(False)
            socket.socket.send(conn.socket, answer)  # not ClientSocket's: it would wait
            conn.socket.shutdown(socket.SHUT_WR)
        self._lingering.append((time.monotonic() + _LINGER_S, conn))

    def _close_until(self, now: float, keep: int = 0) -> None:
        while self._lingering and (self._lingering[0][0] <= now or len(self._lingering) > keep):
            _, conn = self._lingering.popleft()
            with contextlib.suppress(OSError):
                for _ in range(_DISCARD_READS):
                    if not conn.socket.recv(1 << 16):
                        break
            conn.close()
