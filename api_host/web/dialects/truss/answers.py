"""What ``/predict`` sends: plain text as it comes, or the whole conversation as JSON.

Knows events and bytes, no argument and no route.

A stream of plain text has no framing, so what is not text needs a place of its own in it. While an answer waits (its
model is loading, or it is queued for 10 s) spaces go out in front of the text, which keep a proxy from cutting the
line; once there is text there is nothing but text. An error that comes after the first byte is a last record in the
form of RFC 7464: the character U+001E, which no text has, the JSON of the error, and a line's end.
"""

from __future__ import annotations

from typing import Any

import msgspec

from api_host.errors import ApiHostError
from api_host.generation import Accepted, Chunk, Event, Finished, Waiting
from api_host.web.dialect import in_words_of
from api_host.web.dialects.truss.arguments import NAMES
from api_host.web.failures import late_error_body

OUTPUT_SCHEMA = {
    "type": "object",
    "properties": {
        "output": {"type": "string"},
        "outputs": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["output"],
}
RECORD_SEPARATOR = b"\x1e"


class PlainText:
    """The text in pieces."""

    content_type = "text/plain; charset=utf-8"
    streamed = True

    def __init__(self) -> None:
        self.keep_alive = b""
        self._has_text = False

    def feed(self, event: Event) -> bytes:
        waits = isinstance(event, Waiting) and not self._has_text
        self.keep_alive = b" " if waits else b""
        if not isinstance(event, Chunk):
            return b""
        self._has_text = self._has_text or bool(event.text)
        return event.text.encode()

    def failed(self, error: ApiHostError) -> bytes:
        return RECORD_SEPARATOR + msgspec.json.encode(_told(error)) + b"\n"


class Conversation:
    """``{"output": ...}``: the conversation as the model's template writes it, and the answer after it.

    Of several answers ``output`` is the first and ``outputs`` has them all.
    """

    content_type = "application/json"
    streamed = False
    keep_alive = b" "

    def __init__(self, n: int) -> None:
        self._prompt = ""
        self._texts: list[list[str]] = [[] for _ in range(n)]

    def feed(self, event: Event) -> bytes:
        if isinstance(event, Accepted):
            self._prompt = event.prompt or ""
        elif isinstance(event, Chunk):
            self._texts[event.index].append(event.text)
        return msgspec.json.encode(self._whole()) if isinstance(event, Finished) else b""

    def _whole(self) -> dict[str, Any]:
        outputs = [self._prompt + "".join(pieces) for pieces in self._texts]
        return {"output": outputs[0], **({"outputs": outputs} if len(outputs) > 1 else {})}

    def failed(self, error: ApiHostError) -> bytes:
        return msgspec.json.encode(_told(error))


def _told(error: ApiHostError) -> dict[str, Any]:
    told = in_words_of(NAMES, error)
    return {**late_error_body(told), "error": told.message}
