"""What the LLM API sends: a JSON string, events whose data is text, a JSON list, and its errors.

Knows events and bytes, no parameter and no route.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from api_host.errors import ApiHostError
from api_host.generation import Chunk, Event, Finished, Vectors
from api_host.web.dialect import in_words_of
from api_host.web.failures import late_error_body

PROMPT_NAMES = {
    "inputs": "prompt",
    "parameters.": "params.",
    "options.ctx_length": "context",
    "options.": "params.",
}
TEXT_NAMES = {"inputs": "text", "options.ctx_length": "context"}
"""The fields of the engine's errors in this dialect's words, by what the body holds."""


class Affixed:
    """A text in pieces, with ``before`` in front of it and ``after`` behind it."""

    def __init__(self, before: str, after: str) -> None:
        self._before = before
        self._after = after

    def take(self, event: Event) -> str:
        """The piece of text that an event brings."""
        before, self._before = self._before, ""
        if isinstance(event, Chunk):
            return before + event.text
        if isinstance(event, Finished):
            return before + self._after
        self._before = before
        return ""


class JsonText:
    """The text as a JSON string; an error that comes late is an object instead."""

    content_type = "application/json"
    streamed = False
    keep_alive = b" "

    def __init__(self, text: Affixed) -> None:
        self._text = text
        self._pieces: list[str] = []

    def feed(self, event: Event) -> bytes:
        self._pieces.append(self._text.take(event))
        return msgspec.json.encode("".join(self._pieces)) if isinstance(event, Finished) else b""

    def failed(self, error: ApiHostError) -> bytes:
        return _late(error, PROMPT_NAMES)


class TextEvents:
    """Events without a name whose data is a piece of text, and one named ``error`` when it fails late.

    As the HTML standard has it, each line of a piece is a ``data`` line of its own, and whoever reads them joins them
    with a line feed; so a carriage return arrives as one, and one at the end of a piece waits for what follows it.
    """

    content_type = "text/event-stream; charset=utf-8"
    streamed = True
    keep_alive = b":\n\n"
    _LINE_ENDS = re.compile(r"\r\n|\r|\n")

    def __init__(self, text: Affixed) -> None:
        self._text = text
        self._held = ""

    def feed(self, event: Event) -> bytes:
        piece = self._held + self._text.take(event)
        self._held = "\r" if piece.endswith("\r") and not isinstance(event, Finished) else ""
        piece = piece.removesuffix(self._held)
        lines = self._LINE_ENDS.split(piece) if piece else []
        return "".join([*(f"data: {line}\n" for line in lines), "\n" if lines else ""]).encode()

    def failed(self, error: ApiHostError) -> bytes:
        return b"event: error\ndata: %b\n\n" % _late(error, PROMPT_NAMES)


class JsonVector:
    """The vector of the one text, as a JSON list."""

    content_type = "application/json"
    streamed = False
    keep_alive = b" "

    def __init__(self) -> None:
        self._vector: list[float] = []

    def feed(self, event: Event) -> bytes:
        if isinstance(event, Vectors):
            self._vector = event.vectors[0]
        return msgspec.json.encode(self._vector) if isinstance(event, Finished) else b""

    def failed(self, error: ApiHostError) -> bytes:
        return _late(error, TEXT_NAMES)


def _late(error: ApiHostError, names: Mapping[str, str]) -> bytes:
    return msgspec.json.encode(detailed(late_error_body(in_words_of(names, error))))


def detailed(body: dict[str, Any]) -> dict[str, Any]:
    """The JSON of an error with its sentences, joined, as ``detail``."""
    said = body.pop("error")
    return {"detail": said if isinstance(said, str) else "; ".join(said), **body}
