"""One open WebSocket (RFC 6455): messages in and out, pings, and a farewell.

Knows frames and threads, no route and nothing of what the messages mean. The protocol is wsproto's; compression is not
offered.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from wsproto import WSConnection
from wsproto.events import BytesMessage, CloseConnection, Event, Message, Ping, TextMessage
from wsproto.utilities import LocalProtocolError

log = logging.getLogger(__name__)

MAX_MESSAGE_BYTES = 1_000_000
MAX_WAITING_BYTES = 4_000_000
# Tunnels cut what has been idle for 100 s. A client that is silent for two of these in a row is gone.
PING_S = 25.0
FAREWELL_S = 0.5

NORMAL = 1000
POLICY_VIOLATION = 1008
TOO_BIG = 1009
INTERNAL_ERROR = 1011

_READ_BYTES = 1 << 16
_MESSAGE_OVERHEAD = 100


class SocketClosed(Exception):
    """The socket has ended, from whichever side; a view may let it pass through."""


class Socket:
    """One open WebSocket. ``receive`` and ``close`` belong to the view's thread; the rest is safe from any.

    Args:
        sock: the client's socket, which nobody else uses from now on.
        protocol: wsproto's side of it, its handshake done.
    """

    def __init__(self, sock: socket.socket, protocol: WSConnection) -> None:
        self._sock = sock
        self._protocol = protocol
        self._lock = threading.RLock()
        self._waiting: deque[str | bytes] = deque()
        self._waiting_bytes = 0
        self._pieces: list[Any] = []
        self._pieces_bytes = 0
        self._news = threading.Condition()
        self._closed = False
        self._gone: Callable[[], None] | None = None
        self._reader = threading.Thread(target=self._read, name="api-host-socket", daemon=True)

    def open(self, answer: bytes) -> None:
        """Sends the handshake's answer, and reads from now on."""
        # Bounds a write, and is how long a silence lasts before a ping.
        self._sock.settimeout(PING_S)
        self._sock.sendall(answer)
        self._reader.start()

    @property
    def closed(self) -> bool:
        """Whether the socket has ended, or is about to."""
        return self._closed

    def receive(self, timeout: float | None = None) -> str | bytes | None:
        """The next message: text, or bytes of a binary one; None when none has come in ``timeout`` seconds.

        Raises:
            SocketClosed: it has ended, and all messages that came before have been taken.
        """
        with self._news:
            self._news.wait_for(lambda: self._waiting or self._closed, timeout)
            if self._waiting:
                message = self._waiting.popleft()
                self._waiting_bytes -= _cost(message)
                return message
            if self._closed:
                raise SocketClosed
            return None

    def send(self, message: str) -> None:
        """Sends a text. Raises SocketClosed when it has ended, or the client has read nothing for 25 s."""
        if self._closed or not self._write(TextMessage(data=message)):
            raise SocketClosed

    def on_gone(self, callback: Callable[[], None] | None) -> None:
        """Has ``callback`` called once when the socket ends, whoever ended it; at once if it has ended already.

        It replaces the callback before; None is none. It comes from another thread, and returns soon.
        """
        with self._news:
            self._gone = callback
            ended = self._closed
        if ended and callback is not None:
            callback()

    def close(self, reason_code: int = NORMAL, message: str = "") -> None:
        """Says farewell, waits half a second at most for the client's, and ends; may be called again.

        Args:
            reason_code: of RFC 6455, section 7.4.
            message: why, at most 123 bytes.
        """
        if not self._closed:
            self._write(CloseConnection(code=reason_code, reason=message[:100]))
            self._reader.join(FAREWELL_S)
        self._cut()
        self._reader.join()

    def _write(self, event: Event) -> bool:
        with self._lock:
            try:
                self._sock.sendall(self._protocol.send(event))
                return True
            except LocalProtocolError:
                return False  # the farewell has been said
            except OSError:
                # Part of a frame may be out: what follows could not be read.
                self._cut()
                return False

    def _cut(self) -> None:
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def _read(self) -> None:
        silent = False
        try:
            while True:
                try:
                    data = self._sock.recv(_READ_BYTES)
                except TimeoutError:
                    if silent or not self._write(Ping()):
                        return
                    silent = True
                    continue
                silent = False
                if not data or not self._take(data):
                    return
        except OSError:
            return
        finally:
            self._end()

    def _take(self, data: bytes) -> bool:
        """Whether the client has more to say."""
        with self._lock:
            self._protocol.receive_data(data)
            events = list(self._protocol.events())
        for event in events:
            if isinstance(event, Message):
                if not self._put(event):
                    return False
            elif isinstance(event, CloseConnection):
                self._write(event.response())
                return False
            elif isinstance(event, Ping):
                self._write(event.response())
        return True

    def _put(self, event: Message) -> bool:
        self._pieces.append(event.data)
        self._pieces_bytes += _cost(event.data)
        if self._pieces_bytes > MAX_MESSAGE_BYTES:
            return self._refuse(TOO_BIG, f"a message has at most {MAX_MESSAGE_BYTES} bytes")
        if not event.message_finished:
            return True
        message: str | bytes = (b"" if isinstance(event, BytesMessage) else "").join(self._pieces)
        self._pieces, self._pieces_bytes = [], 0
        with self._news:
            if self._waiting_bytes + _cost(message) <= MAX_WAITING_BYTES:
                self._waiting_bytes += _cost(message)
                self._waiting.append(message)
                self._news.notify()
                return True
        return self._refuse(POLICY_VIOLATION, f"at most {MAX_WAITING_BYTES} bytes of messages may wait")

    def _refuse(self, code: int, sentence: str) -> bool:
        self._write(CloseConnection(code=code, reason=sentence))
        # Ending with unread bytes would reset the connection, and the client would not learn why.
        deadline = time.monotonic() + FAREWELL_S
        self._sock.settimeout(FAREWELL_S)
        while time.monotonic() < deadline and self._sock.recv(_READ_BYTES):
            pass
        return False

    def _end(self) -> None:
        with self._news:
            self._closed = True
            gone, self._gone = self._gone, None
            self._news.notify_all()
        if gone is not None:
            try:
                gone()
            except Exception:
                log.exception("telling that a socket has ended failed")


def _cost(message: str | bytes) -> int:
    """The bytes that a message, or a piece of one, takes while it waits."""
    return len(message.encode() if isinstance(message, str) else message) + _MESSAGE_OVERHEAD
