"""Cuts the bytes of a server-sent event stream into events, as they arrive.

The format is https://html.spec.whatwg.org/multipage/server-sent-events.html. Knows nothing of what is in an
event. Lines are decoded whole, so a character that is split between two network chunks arrives intact.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_LINE_END = re.compile(rb"\r\n|\n|\r")
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class ServerEvent:
    """One event: its name (``message`` when the stream gives none) and its data, lines joined by newlines."""

    event: str
    data: str


class EventDecoder:
    """``feed`` what has arrived; an event is returned as soon as its blank line is seen.

    Comments, ids and retry times are dropped, and so is an event that the stream's end cuts off.
    """

    def __init__(self) -> None:
        self._rest = bytearray()
        self._searched = 0
        self._swallow_newline = False
        self._at_start = True
        self._event = ""
        self._data: list[str] = []

    def feed(self, received: bytes) -> list[ServerEvent]:
        """The events that ``received`` completes, oldest first."""
        events = []
        for line in self._lines(received):
            event = self._take(line.decode("utf-8", errors="replace"))
            if event:
                events.append(event)
        return events

    def _lines(self, received: bytes) -> list[bytes]:
        """The lines that are now whole. A CR ends its line at once; an LF that follows it belongs to it."""
        if self._swallow_newline and received:
            received = received.removeprefix(b"\n")
            self._swallow_newline = False
        self._rest += received
        lines = []
        start = 0
        for end in _LINE_END.finditer(self._rest, self._searched):
            lines.append(bytes(self._rest[start : end.start()]))
            start = end.end()
        if lines:
            self._swallow_newline = start == len(self._rest) and self._rest.endswith(b"\r")
            del self._rest[:start]
        self._searched = len(self._rest)
        if lines and self._at_start:
            self._at_start = False
            lines[0] = lines[0].removeprefix(_BOM)
        return lines

    def _take(self, line: str) -> ServerEvent | None:
        """Adds a line to the event in the making; a blank line ends it."""
        if not line:
            event, data = self._event, self._data
            self._event, self._data = "", []
            return ServerEvent(event or "message", "\n".join(data)) if data else None
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            self._event = value
        elif name == "data":
            self._data.append(value)
        return None
