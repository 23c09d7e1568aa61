"""One client's bytes: read until a deadline, and written in as few sends as there can be.

Knows sockets and time, nothing of HTTP. The kernel keeps the time: under a timeout of Python's own each read and each
write would be two system calls, and let go of the interpreter's lock twice.
"""

from __future__ import annotations

import socket
import struct
import time

from api_host.sending import send_all

STALL_S = 60.0
_READ_BYTES = 1 << 14
_LARGE_READ_BYTES = 1 << 16


class ClientSocket(socket.socket):
    """A client's socket whose reads end at a deadline, however slowly bytes drip in.

    Args:
        fileno: of a connected socket, which this one owns from now on.
    """

    stall = STALL_S

    def __init__(self, fileno: int) -> None:
        super().__init__(fileno=fileno)
        self.settimeout(None)
        self._read_by = 0.0
        self._waits = {socket.SO_RCVTIMEO: float("inf"), socket.SO_SNDTIMEO: float("inf")}

    def allow(self, seconds: float) -> None:
        """Lets all reads from now on take ``seconds`` together, each at most ``stall``."""
        self._read_by = time.monotonic() + seconds

    def receive(self, size: int, within: float | None = None) -> bytes:
        """What has come, at most ``size`` bytes; empty at the end of what the client sends.

        Args:
            size: above 0.
            within: seconds to wait; None is what ``allow`` has left.

        Raises:
            TimeoutError: nothing has come in time.
        """
        now = time.monotonic()
        left = min(self._read_by - now, self.stall) if within is None else within
        until = now + left
        # Most reads find something at once, so a shorter wait than is allowed does at first.
        wait = min(left, self._waits[socket.SO_RCVTIMEO])
        while left > 0:
            self._set_wait(socket.SO_RCVTIMEO, wait)
            try:
                return self.recv(size)
            except BlockingIOError:
                wait = left = until - time.monotonic()
        raise TimeoutError("timed out")

    def deliver(self, data: bytes) -> None:
        """Sends all of ``data``. Raises TimeoutError when the client has taken nothing for ``stall`` seconds."""
        self._set_wait(socket.SO_SNDTIMEO, self.stall)
        try:
            send_all(self, data)
        except BlockingIOError:
            raise TimeoutError("timed out") from None

    def _set_wait(self, option: int, seconds: float) -> None:
        if self._waits[option] != seconds:
            whole, part = divmod(seconds, 1)
            # Zero would be no bound at all.
            self.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", int(whole), max(1, int(part * 1e6))))
            self._waits[option] = seconds


class Reader:
    """What a client sends, as cheroot reads it: no more is held than was asked for and came along with it."""

    def __init__(self, sock: ClientSocket) -> None:
        self.closed = False
        self.bytes_read = 0
        self._sock = sock
        self._held = b""
        self._at = 0

    def has_data(self) -> bool:
        """Whether something is held."""
        return self._at < len(self._held)

    def arrives(self, within: float) -> bool:
        """Whether there is something to read, bytes or their end, in ``within`` seconds."""
        if not self.has_data():
            try:
                self._held, self._at = self._sock.receive(_READ_BYTES, within), 0
            except TimeoutError:
                return False
        return True

    def readline(self, size: int) -> bytes:
        """A line with its end, or ``size`` bytes of it; less at the end of what comes."""
        end = self._held.find(b"\n", self._at, self._at + size) + 1
        if end:
            return self._take(end - self._at)
        pieces = []
        while size > 0 and (self.has_data() or self._fill(_READ_BYTES)):
            end = self._held.find(b"\n", self._at, self._at + size) + 1
            piece = self._take(end - self._at if end else size)
            pieces.append(piece)
            size = 0 if end else size - len(piece)
        return b"".join(pieces)

    def read(self, size: int) -> bytes:
        """``size`` bytes; fewer at the end of what comes."""
        pieces = []
        while size > 0 and (self.has_data() or self._fill(min(max(size, _READ_BYTES), _LARGE_READ_BYTES))):
            pieces.append(self._take(size))
            size -= len(pieces[-1])
        return b"".join(pieces)

    def close(self) -> None:
        self.closed = True

    def _take(self, size: int) -> bytes:
        piece = self._held[self._at : self._at + size]
        self._at += len(piece)
        self.bytes_read += len(piece)
        return piece

    def _fill(self, size: int) -> bool:
        """Whether more has come; only when nothing is held."""
        self._held, self._at = self._sock.receive(size), 0
        return bool(self._held)


class Writer:
    """What a client is sent, as cheroot writes it: each write is a send, but for one that is to wait for the next."""

    def __init__(self, sock: ClientSocket) -> None:
        self.closed = False
        self.bytes_written = 0
        self._sock = sock
        self._held = b""
        self._hold_next = False

    def hold_next(self) -> None:
        """Has the next write wait for the one after it, or for ``flush``."""
        self._hold_next = True

    def write(self, data: bytes) -> int:
        held, self._held = self._held, b""
        if self._hold_next:
            self._hold_next = False
            self._held = held + data
        else:
            self._sock.deliver(held + data if held else data)
        self.bytes_written += len(data)
        return len(data)

    def flush(self) -> None:
        """Sends what waits."""
        self._hold_next = False
        if self._held:
            self.write(b"")

    def close(self) -> None:
        self.closed = True


def make_file(sock: ClientSocket, mode: str, size: int) -> Reader | Writer:
    """A side of a client's socket, as cheroot asks for it; both know their own ``size``."""
    return Reader(sock) if "r" in mode else Writer(sock)
