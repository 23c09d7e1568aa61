"""How Ollama's answers are written: JSON objects a line each, or one object; and the clock that they tell of.

Knows nothing of what is in the objects. Between lines a space goes out where nothing is to be said: it stands before
the next object, where every JSON reader takes it, while the official clients break on an empty line.
"""

from __future__ import annotations

import time
from datetime import datetime, timezone
from typing import Any, Protocol

import msgspec
from flask import Response

from api_host.errors import ApiHostError
from api_host.generation import Event, Finished, Timings, Waiting
from api_host.web.dialects.ollama.failures import error_body, inputs_name

JSON = "application/json"
LINES = "application/x-ndjson"
# What also ends a line for the official client of Python (NEL, LS, PS), though JSON has them in strings as they are.
_LINE_ENDS = {end.encode(): b"\\u%04x" % ord(end) for end in "\x85\u2028\u2029"}


class Answer(Protocol):
    """What an answer is made of."""

    def take(self, event: Event) -> list[dict[str, Any]]:
        """The objects that a stream shows of an event; the last event has the last one."""

    def whole(self) -> dict[str, Any]:
        """The same as one object, when all has been taken."""


class Lines:
    """A streamed answer; the last line has ``done`` or ``error``."""

    content_type = LINES
    streamed = True
    keep_alive = b" "

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._inputs = inputs_name()

    def feed(self, event: Event) -> bytes:
        return b"".join(map(line, self._answer.take(event)))

    def failed(self, error: ApiHostError) -> bytes:
        return line(error_body(error, self._inputs))


class Whole:
    """One object, after as many spaces as it takes."""

    content_type = JSON
    streamed = False
    keep_alive = b" "

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._inputs = inputs_name()

    def feed(self, event: Event) -> bytes:
        self._answer.take(event)
        return msgspec.json.encode(self._answer.whole()) if isinstance(event, Finished) else b""

    def failed(self, error: ApiHostError) -> bytes:
        return msgspec.json.encode(error_body(error, self._inputs))


def form(streams: bool, answer: Answer) -> Lines | Whole:
    return Lines(answer) if streams else Whole(answer)


def line(body: dict[str, Any]) -> bytes:
    """The object on a line of its own, by every reader's idea of a line."""
    encoded = msgspec.json.encode(body)
    for end, escape in _LINE_ENDS.items():
        encoded = encoded.replace(end, escape)
    return encoded + b"\n"


def at_once(streams: bool, body: dict[str, Any]) -> Response:
    """An answer for which nothing had to run."""
    return Response(line(body), content_type=LINES if streams else JSON)


def timestamp(seconds: float | None = None) -> str:
    """A Unix time (None: now) as RFC 3339 in UTC."""
    moment = datetime.fromtimestamp(time.time() if seconds is None else seconds, timezone.utc)
    return moment.isoformat().replace("+00:00", "Z")


def nanoseconds(seconds: float) -> int:
    return round(seconds * 1e9)


class Clock:
    """How long one answer takes, and its model's load; it starts when it is made. ``note`` each event."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._loaded = self._start
        self._loading = False

    def note(self, event: Event) -> None:
        if isinstance(event, Waiting) and event.status in ("downloading", "loading"):
            self._loading = True
        elif self._loading:
            self._loading = False
            self._loaded = time.monotonic()

    def durations(self, timings: Timings) -> dict[str, int]:
        """In nanoseconds, until now; a load that was noticed late does not reach into what came after it."""
        total = time.monotonic() - self._start
        after = timings.queued + timings.prefill + timings.decode
        load = max(0.0, min(self._loaded - self._start, total - after))
        return {"total_duration": nanoseconds(total), "load_duration": nanoseconds(load)}
