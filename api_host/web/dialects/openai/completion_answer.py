"""What ``/v1/completions`` answers with: the chunks of a stream, and what they add up to.

Knows events and OpenAI's JSON (API reference, "The completion object"), no request and no route.
"""

from __future__ import annotations

import codecs
import secrets
import time

from api_host.generation import Accepted, Chunk, Event, Finished, TokenLogprob
from api_host.web.dialects.openai.events import Body
from api_host.web.dialects.openai.usage import logprob_number, usage_body


class CompletionAnswer:
    """The chunks of one answer of ``n`` choices, those of all prompts together."""

    def __init__(self, n: int) -> None:
        self._offsets = [_Offsets() for _ in range(n)]
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
        offsets = self._offsets[chunk.index]
        if not chunk.logprobs:
            offsets.pass_over(chunk.text)
        return {
            "text": chunk.text,
            "index": chunk.index,
            "logprobs": _logprobs(chunk.logprobs, offsets) if chunk.logprobs else None,
            "finish_reason": chunk.finish_reason,
        }


class _Offsets:
    """Where in a choice's text each of its tokens begins, in characters.

    Counted by the tokens themselves: a chunk's text may lack the end of its tokens, which is held back.
    """

    def __init__(self) -> None:
        self._at = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def pass_over(self, text: str) -> None:
        """The text goes on with what no token is told of."""
        self._at += len(text)

    def next(self, entry: TokenLogprob) -> int:
        """The offset of the next token; a token that ends a character begins where that one does."""
        at = self._at
        self._at += len(self._decoder.decode(entry.as_bytes))
        return at


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


def _logprobs(entries: list[TokenLogprob], offsets: _Offsets) -> Body:
    return {
        "tokens": [entry.token for entry in entries],
        "token_logprobs": [logprob_number(entry) for entry in entries],
        "top_logprobs": [{other.token: logprob_number(other) for other in entry.top} for entry in entries],
        "text_offset": [offsets.next(entry) for entry in entries],
    }
