"""What the Zephyr API answers with: ``{"response": ...}``, or ``{"detail": ...}``.

Knows events and JSON, no route.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from api_host.errors import ApiHostError, WrongToken
from api_host.generation import Accepted, Chunk, Event, Finished
from api_host.web.dialect import in_words_of


class WholeAnswer:
    """One JSON object, after as many spaces as it takes.

    Args:
        names: the request's spelling of the fields that an error may speak of.
        with_prompt: whether the text begins with the prompt, template tokens and all.
    """

    content_type = "application/json"
    streamed = False
    keep_alive = b" "

    def __init__(self, names: Mapping[str, str], with_prompt: bool) -> None:
        self._names = names
        self._with_prompt = with_prompt
        self._texts: list[str] = []

    def feed(self, event: Event) -> bytes:
        if isinstance(event, Accepted) and self._with_prompt:
            self._texts.append(event.prompt or "")
        elif isinstance(event, Chunk):
            self._texts.append(event.text)
        elif isinstance(event, Finished):
            return msgspec.json.encode({"response": "".join(self._texts)})
        return b""

    def failed(self, error: ApiHostError) -> bytes:
        body = {**error_body(in_words_of(self._names, error)), "status": error.status}
        if error.retry_after is not None:
            body["retry_after"] = error.retry_after
        return msgspec.json.encode(body)


def error_body(error: ApiHostError) -> dict[str, Any]:
    """The JSON of an error: the sentence, its code and its facts; a wrong token says that alone."""
    if isinstance(error, WrongToken):
        return {"detail": "wrong token"}
    return {"detail": error.message, "code": error.code, **error.details}
