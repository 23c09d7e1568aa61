"""What Petals answers with: ``{"ok": true, ...}``, or ``{"ok": false, "traceback": ...}`` with class and cause.

Knows events and their JSON, no field and no route. A traceback of this host is never shown.
"""

from __future__ import annotations

from typing import Any

import msgspec

from api_host.errors import ApiHostError
from api_host.generation import Chunk, Event, Finished
from api_host.web.dialect import in_words_of
from api_host.web.dialects.petals.fields import NAMES

OUTPUT_SCHEMA = {
    "type": "object",
    "properties": {
        "ok": {"type": "boolean"},
        "outputs": {"type": "string"},
        "traceback": {"type": "string"},
    },
    "required": ["ok"],
}
ERROR_SCHEMA = {
    "type": "object",
    "properties": {"ok": {"const": False}, "traceback": {"type": "string"}},
    "required": ["ok", "traceback"],
}


class Outputs:
    """The new text alone, whole; spaces before it keep a slow answer's connection alive."""

    content_type = "application/json"
    streamed = False
    keep_alive = b" "

    def __init__(self) -> None:
        self._pieces: list[str] = []

    def feed(self, event: Event) -> bytes:
        if isinstance(event, Chunk):
            self._pieces.append(event.text)
        if isinstance(event, Finished):
            return msgspec.json.encode({"ok": True, "outputs": "".join(self._pieces)})
        return b""

    def failed(self, error: ApiHostError) -> bytes:
        return msgspec.json.encode(failure(error))


def failure(error: ApiHostError) -> dict[str, Any]:
    """The JSON of an error: ``traceback`` is its class and its sentence."""
    sentence = in_words_of(NAMES, error).message
    if "id" in error.details:
        sentence += f" ({error.details['id']})"
    return {"ok": False, "traceback": f"{type(error).__name__}: {sentence}"}
