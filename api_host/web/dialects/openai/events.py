"""How an answer leaves: as server-sent events, or folded into one JSON object.

Knows no field of any answer: an ``Answer`` tells the bodies of the stream's events, and folds them.
"""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from api_host.errors import ApiHostError
from api_host.generation import Event, Finished
from api_host.web.dialects.openai.errors import late_error

Body = dict[str, Any]
DONE = b"data: [DONE]\n\n"


class Answer(Protocol):
    """What the events of a generation are in a stream; the bodies of Finished tell the usage alone."""

    def take(self, event: Event) -> list[Body]: ...


class Folding(Protocol):
    """What the bodies of a stream add up to."""

    def add(self, body: Body) -> None: ...

    def whole(self) -> Body: ...


class EventStream:
    """Server-sent events without names, ``[DONE]`` after a complete answer; keep-alives are comments.

    Args:
        answer: tells the bodies.
        include_usage: whether the usage comes as an event of its own, and every other one says ``usage: null``.
    """

    content_type = "text/event-stream; charset=utf-8"
    streamed = True
    keep_alive = b":\n\n"

    def __init__(self, answer: Answer, include_usage: bool) -> None:
        self._answer = answer
        self._include_usage = include_usage

    def feed(self, event: Event) -> bytes:
        bodies = self._answer.take(event)
        if isinstance(event, Finished):
            return b"".join(map(_event, bodies if self._include_usage else [])) + DONE
        if self._include_usage:
            bodies = [{**body, "usage": None} for body in bodies]
        return b"".join(map(_event, bodies))

    def failed(self, error: ApiHostError) -> bytes:
        return _event(late_error(error))


class PlainJson:
    """One JSON object, after as many spaces as it takes."""

    content_type = "application/json"
    streamed = False
    keep_alive = b" "

    def __init__(self, answer: Answer, folding: Folding) -> None:
        self._answer = answer
        self._folding = folding

    def feed(self, event: Event) -> bytes:
        for body in self._answer.take(event):
            self._folding.add(body)
        return msgspec.json.encode(self._folding.whole()) if isinstance(event, Finished) else b""

    def failed(self, error: ApiHostError) -> bytes:
        return msgspec.json.encode(late_error(error))


def _event(body: Body) -> bytes:
    return b"data: %b\n\n" % msgspec.json.encode(body)
