"""What the native API answers with, whole as JSON or as server-sent events.

Knows events and their JSON, no request and no route.
"""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from api_host.errors import ApiHostError
from api_host.generation import (
    Accepted,
    Chunk,
    Event,
    Finished,
    Timings,
    TokenLogprob,
    Usage,
    Vectors,
    Waiting,
)
from api_host.web.failures import late_error_body


class Answer(Protocol):
    """What an answer adds up to, and what of an event a stream shows at once."""

    def take(self, event: Event) -> None: ...

    def whole(self) -> dict[str, Any]:
        """The plain answer."""

    def summary(self) -> dict[str, Any]:
        """What ends a stream."""


class TextAnswer:
    """The text of a generation of ``n`` choices."""

    def __init__(self, n: int) -> None:
        self._texts: list[list[str]] = [[] for _ in range(n)]
        self._reasons: list[str | None] = [None] * n
        self._logprobs: list[list[TokenLogprob]] = [[] for _ in range(n)]
        self._model: str | None = None
        self._usage = Usage()
        self._timings = Timings()

    def take(self, event: Event) -> None:
        if isinstance(event, Chunk):
            self._texts[event.index].append(event.text)
            self._logprobs[event.index] += event.logprobs or []
            self._reasons[event.index] = event.finish_reason or self._reasons[event.index]
        elif isinstance(event, Accepted):
            self._model = event.model
        elif isinstance(event, Finished):
            self._usage, self._timings = event.usage, event.timings

    def whole(self) -> dict[str, Any]:
        contents = ["".join(pieces) for pieces in self._texts]
        answer: dict[str, Any] = {"answer": {"role": "assistant", "content": contents[0]}}
        if len(contents) > 1:
            answer["answers"] = [
                {"content": content, "finish_reason": reason, **_with_logprobs(logprobs)}
                for content, reason, logprobs in zip(contents, self._reasons, self._logprobs, strict=True)
            ]
        return {**answer, **_with_logprobs(self._logprobs[0]), **self.summary()}

    def summary(self) -> dict[str, Any]:
        return {
            "model": self._model,
            "usage": usage_body(self._usage),
            "timings": timings_body(self._usage, self._timings),
            "finish_reason": self._reasons[0],
        }


def usage_body(usage: Usage) -> dict[str, int]:
    """The tokens of one request."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "cached_tokens": usage.cached_tokens,
        "total_tokens": usage.total_tokens,
    }


def timings_body(usage: Usage, timings: Timings) -> dict[str, float]:
    """Seconds of each phase, and completion tokens a second of decoding (0 when nothing was decoded)."""
    speed = usage.completion_tokens / timings.decode if timings.decode > 0 else 0.0
    return {
        "queued": round(timings.queued, 6),
        "prefill": round(timings.prefill, 6),
        "decode": round(timings.decode, 6),
        "tokens_per_second": round(speed, 2),
    }


def _with_logprobs(logprobs: list[TokenLogprob] | None) -> dict[str, Any]:
    """A field ``logprobs`` with an entry a token, for requests that asked for them."""
    return {"logprobs": list(map(_told, logprobs))} if logprobs else {}


def _told(entry: TokenLogprob) -> dict[str, Any]:
    return {"token": entry.token, "logprob": entry.logprob, "top": list(map(_told, entry.top))}


class EmbeddingAnswer:
    """Vectors: ``embedding`` for a single text, ``embeddings`` for a list."""

    def __init__(self, single: bool) -> None:
        self._single = single
        self._vectors: list[list[float]] = []
        self._model: str | None = None
        self._usage = Usage()

    def take(self, event: Event) -> None:
        if isinstance(event, Vectors):
            self._vectors = event.vectors
        elif isinstance(event, Accepted):
            self._model = event.model
        elif isinstance(event, Finished):
            self._usage = event.usage

    def whole(self) -> dict[str, Any]:
        key, value = ("embedding", self._vectors[0]) if self._single else ("embeddings", self._vectors)
        return {key: value, **self.summary()}

    def summary(self) -> dict[str, Any]:
        return {"model": self._model, "usage": usage_body(self._usage)}


class LoadAnswer:
    """A model that has been loaded, and nothing generated."""

    def __init__(self) -> None:
        self._model: str | None = None

    def take(self, event: Event) -> None:
        if isinstance(event, Accepted):
            self._model = event.model

    def whole(self) -> dict[str, Any]:
        return {"answer": None, **self.summary()}

    def summary(self) -> dict[str, Any]:
        return {"model": self._model, "loaded": True}


class PlainFormat:
    """One JSON object, after as many spaces as it takes."""

    content_type = "application/json"
    streamed = False
    keep_alive = b" "

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def feed(self, event: Event) -> bytes:
        self._answer.take(event)
        return msgspec.json.encode(self._answer.whole()) if isinstance(event, Finished) else b""

    def failed(self, error: ApiHostError) -> bytes:
        return msgspec.json.encode(late_error_body(error))


class EventStream:
    """Server-sent events: ``status`` while waiting, unnamed ones with text, then ``done`` or ``error``.

    The format is the HTML standard's, section "Server-sent events".
    """

    content_type = "text/event-stream; charset=utf-8"
    streamed = True
    keep_alive = b":\n\n"

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def feed(self, event: Event) -> bytes:
        self._answer.take(event)
        if isinstance(event, Chunk):
            text = {"text": event.text, "index": event.index, "finish_reason": event.finish_reason}
            text |= _with_logprobs(event.logprobs)
            return b"data: %b\n\n" % msgspec.json.encode(text)
        if isinstance(event, Waiting):
            return _named("status", {"status": event.status, "progress": event.progress})
        return _named("done", self._answer.summary()) if isinstance(event, Finished) else b""

    def failed(self, error: ApiHostError) -> bytes:
        return _named("error", late_error_body(error))


def _named(name: str, body: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), msgspec.json.encode(body))


def answer_format(stream: bool, answer: Answer) -> PlainFormat | EventStream:
    """How an answer is written: as events, or whole."""
    return EventStream(answer) if stream else PlainFormat(answer)
