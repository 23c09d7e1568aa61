"""Reads an HTTP/1.1 answer as it arrives and cuts its body into server-sent events, each with the time it came.

Knows nothing of sockets or of what an event means: it is fed bytes, cut anywhere, and keeps an event's data as bytes.
Formats: RFC 9112 (status line, headers, chunked coding) and the HTML standard's section "Server-sent events"; lines end
in LF or CRLF.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Event:
    """``name`` is empty for an unnamed event; ``time`` is the clock's when its last byte was read."""

    time: float
    name: str
    data: bytes


class EventCutter:
    """Cuts a body into events."""

    def __init__(self) -> None:
        self._rest = b""
        self._name = ""
        self._data: list[bytes] = []

    def feed(self, now: float, data: bytes) -> list[Event]:
        """The events that ``data`` completes. Comments and empty events are dropped."""
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        events = []
        for line in lines:
            line = line.removesuffix(b"\r")
            if not line:
                if self._data:
                    events.append(Event(now, self._name, b"\n".join(self._data)))
                self._name, self._data = "", []
                continue
            key, _, value = line.partition(b":")
            if key == b"data":
                self._data.append(value.removeprefix(b" "))
            elif key == b"event":
                self._name = value.strip().decode()
        return events


class ChunkedBody:
    """Undoes the chunked transfer coding; ``done`` after the last chunk."""

    def __init__(self) -> None:
        self._buffer = b""
        self._left = 0
        self._trailer = False
        self.done = False

    def feed(self, data: bytes) -> bytes:
        """The bytes of the body that ``data`` completes."""
        self._buffer += data
        parts = []
        while self._buffer and not self.done:
            if self._left > 2:
                part = self._buffer[: self._left - 2]
                parts.append(part)
                self._buffer = self._buffer[len(part) :]
                self._left -= len(part)
            elif self._left:
                cut = len(self._buffer[: self._left])
                self._buffer = self._buffer[cut:]
                self._left -= cut
            elif not self._next_line():
                break
        return b"".join(parts)

    def _next_line(self) -> bool:
        """Takes a chunk's size line, or a line of the trailer; False when it is not whole yet."""
        line, end, rest = self._buffer.partition(b"\r\n")
        if not end:
            return False
        self._buffer = rest
        if self._trailer:
            self.done = not line
            return True
        size = int(line.split(b";")[0], 16)
        self._left = size + 2 if size else 0
        self._trailer = size == 0
        return True


@dataclass
class HttpAnswer:
    """One answer. ``done`` when its end has been seen; one without a length ends with the connection (``close``)."""

    status: int = 0
    done: bool = False
    body: bytearray = field(default_factory=bytearray)
    events: list[Event] = field(default_factory=list)
    _head: bytes = b""
    _chunks: ChunkedBody | None = None
    _left: int | None = None
    _cutter: EventCutter | None = None

    def feed(self, now: float, data: bytes) -> None:
        """Takes what has arrived, at ``now`` (seconds of any clock)."""
        if not self.status:
            self._head += data
            head, end, data = self._head.partition(b"\r\n\r\n")
            if not end:
                return
            self._read_head(head)
        if self._chunks is not None:
            data = self._chunks.feed(data)
            self.done = self._chunks.done
        elif self._left is not None:
            self._left -= len(data)
            self.done = self._left <= 0
        if self._cutter is None:
            self.body += data
        elif data:
            self.events += self._cutter.feed(now, data)

    def close(self) -> None:
        """The connection has ended. Raises ConnectionError when the answer has not."""
        if not self.done and (not self.status or self._chunks is not None or self._left is not None):
            raise ConnectionError("the server closed the connection in the middle of an answer")
        self.done = True

    def _read_head(self, head: bytes) -> None:
        first, *lines = head.split(b"\r\n")
        self.status = int(first.split()[1])
        headers = {}
        for line in lines:
            name, _, value = line.partition(b":")
            headers[name.strip().lower()] = value.strip().lower()
        if headers.get(b"transfer-encoding") == b"chunked":
            self._chunks = ChunkedBody()
        elif b"content-length" in headers:
            self._left = int(headers[b"content-length"])
        if headers.get(b"content-type", b"").startswith(b"text/event-stream"):
            self._cutter = EventCutter()
