"""What ``/v1/completions`` answers with: the chunks of a stream, and what they add up to.

Knows events and OpenAI's JSON (API reference, "The completion object"), no request and no route.
"""

from __future__ import annotations

import secrets
import time

from api_host.generation import Accepted, Chunk, Event, Finished, TokenLogprob
from api_host.web.dialects.openai.events import Body
from api_host.web.dialects.openai.usage import logprob_number, usage_body


class CompletionAnswer:
    """The chunks of one answer of ``n`` choices, those of all prompts together."""

    def __init__(self, n: int) -> None:
        self._lengths = [0] * n
        self._head: Body = {
            "id": f"cmpl-{secrets.token_hex(12)}",
            "object": "text_completion",
            "created": int(time.time()),
        }

    def take(self, event: Event) -> list[Body]:
        """The bodies of the stream's events; Finished tells the usage."""
        match event:
            case Accepted(model=model):
                self._head["model"] = model
            case Chunk() if event.text or event.logprobs or event.finish_reason:
                return [{**self._head, "choices": [self._choice(event)]}]
            case Finished(usage=usage):
                return [{**self._head, "choices": [], "usage": usage_body(usage)}]
        return []

    def _choice(self, chunk: Chunk) -> Body:
        offset = self._lengths[chunk.index]
        self._lengths[chunk.index] += len(chunk.text)
        return {
            "text": chunk.text,
            "index": chunk.index,
            "logprobs": _logprobs(chunk.logprobs, offset) if chunk.logprobs else None,
            "finish_reason": chunk.finish_reason,
        }


class WholeCompletion:
    """The chunks of a stream folded into one ``text_completion``."""

    def __init__(self) -> None:
        self._last: Body = {}
        self._choices: dict[int, Body] = {}

    def add(self, body: Body) -> None:
        self._last = body
        for choice in body["choices"]:
            whole = self._choices.get(choice["index"])
            if whole is None:
                self._choices[choice["index"]] = choice
                continue
            whole["text"] += choice["text"]
            whole["finish_reason"] = choice["finish_reason"]
            if choice["logprobs"] is not None:
                told = whole["logprobs"] or {}
                whole["logprobs"] = {
                    key: told.get(key, []) + entries for key, entries in choice["logprobs"].items()
                }

    def whole(self) -> Body:
        return {**self._last, "choices": [choice for _, choice in sorted(self._choices.items())]}


def _logprobs(entries: list[TokenLogprob], offset: int) -> Body:
    """The tokens of a piece of text that begins at the character ``offset``."""
    offsets = []
    for entry in entries:
        offsets.append(offset)
        offset += len(entry.token)
    return {
        "tokens": [entry.token for entry in entries],
        "token_logprobs": [logprob_number(entry) for entry in entries],
        "top_logprobs": [{other.token: logprob_number(other) for other in entry.top} for entry in entries],
        "text_offset": offsets,
    }
