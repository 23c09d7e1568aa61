"""What Ollama's routes answer with: text, a loaded model, vectors, a download.

Knows events and their JSON (its docs: api.md), no request; ``forms`` writes the objects.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

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
from api_host.web.dialects.ollama.forms import Clock, nanoseconds, timestamp
from api_host.web.output import CallArguments, CallStarted, OutputParser, Part, Reasoning, Text, object_of


@dataclass
class Piece:
    """Some of an answer, or all of it: ``calls`` are whole ones, as a message has them."""

    text: str = ""
    thinking: str = ""
    calls: list[dict[str, Any]] = field(default_factory=list)
    logprobs: list[TokenLogprob] = field(default_factory=list)

    def add(self, other: Piece) -> None:
        self.text += other.text
        self.thinking += other.thinking
        self.calls += other.calls
        self.logprobs += other.logprobs


def as_response(piece: Piece) -> dict[str, Any]:
    """A piece as ``/api/generate`` writes it."""
    return {"response": piece.text, **_thinking(piece), **_logprobs(piece)}


def as_message(piece: Piece) -> dict[str, Any]:
    """A piece as ``/api/chat`` writes it."""
    calls = {"tool_calls": piece.calls} if piece.calls else {}
    message = {"role": "assistant", "content": piece.text, **_thinking(piece), **calls}
    return {"message": message, **_logprobs(piece)}


def _thinking(piece: Piece) -> dict[str, Any]:
    return {"thinking": piece.thinking} if piece.thinking else {}


def _logprobs(piece: Piece) -> dict[str, Any]:
    if not piece.logprobs:
        return {}
    return {
        "logprobs": [
            {**_logprob(one), "top_logprobs": list(map(_logprob, one.top))} for one in piece.logprobs
        ]
    }


def _logprob(one: TokenLogprob) -> dict[str, Any]:
    return {"token": one.token, "logprob": one.logprob, "bytes": list(one.as_bytes)}


Shape = Callable[[Piece], dict[str, Any]]


class TextAnswer:
    """Text that a model makes.

    Args:
        model: as the request named it.
        shape: ``as_response`` or ``as_message``.
        tools: whether calls of tools are looked for.
        reasoning: whether thinking is told apart from the answer.
        thinking: whether it is shown.
    """

    def __init__(
        self, model: str | None, shape: Shape, *, tools: bool, reasoning: bool, thinking: bool = True
    ) -> None:
        self._model, self._shape = model, shape
        self._tools, self._reasoning, self._shows_thinking = tools, reasoning, thinking
        self._clock = Clock()
        self._reader = _Reader(None)
        self._all = Piece()
        self._reason: str | None = None
        self._ending: dict[str, Any] = {}

    def take(self, event: Event) -> list[dict[str, Any]]:
        self._clock.note(event)
        if isinstance(event, Accepted) and (self._tools or self._reasoning):
            parser = OutputParser(tools=self._tools, reasoning=self._reasoning, prompt=event.prompt)
            self._reader = _Reader(parser)
        elif isinstance(event, Chunk):
            self._reason = event.finish_reason or self._reason
            return self._show(self._reader.read(event))
        elif isinstance(event, Finished):
            self._ending = self._end(event)
            return [{**self._head(), **self._shape(Piece()), **self._ending}]
        return []

    def whole(self) -> dict[str, Any]:
        return {**self._head(), **self._shape(self._all), **self._ending}

    def _head(self) -> dict[str, Any]:
        return {"model": self._model, "created_at": timestamp()}

    def _show(self, piece: Piece) -> list[dict[str, Any]]:
        if not self._shows_thinking:
            piece.thinking = ""
        if piece == Piece():
            return []
        self._all.add(piece)
        return [{**self._head(), **self._shape(piece), "done": False}]

    def _end(self, event: Finished) -> dict[str, Any]:
        usage, timings = event.usage, event.timings
        context = {"context": event.tokens} if event.tokens is not None else {}
        return {
            "done": True,
            "done_reason": self._reason or "stop",
            **context,
            **self._clock.durations(timings),
            "prompt_eval_count": usage.prompt_tokens,
            "prompt_eval_duration": nanoseconds(timings.prefill),
            "eval_count": usage.completion_tokens,
            "eval_duration": nanoseconds(timings.decode),
        }


class _Reader:
    """Chunks into pieces, with each call of a tool held back until it is whole, as Ollama does."""

    def __init__(self, parser: OutputParser | None) -> None:
        self._parser = parser
        self._call: CallStarted | None = None
        self._arguments = ""

    def read(self, chunk: Chunk) -> Piece:
        piece = Piece(logprobs=list(chunk.logprobs or []))
        if self._parser is None:
            piece.text = chunk.text
            return piece
        parts = self._parser.feed(chunk.text)
        if chunk.finish_reason is not None:
            parts += self._parser.finish()
        for part in parts:
            self._put(part, piece)
        if chunk.finish_reason is not None:
            self._end_call(piece)
        return piece

    def _put(self, part: Part, piece: Piece) -> None:
        if isinstance(part, CallArguments):
            self._arguments += part.text
            return
        self._end_call(piece)
        if isinstance(part, CallStarted):
            self._call = part
        elif isinstance(part, Reasoning):
            piece.thinking += part.text
        elif isinstance(part, Text):
            piece.text += part.text

    def _end_call(self, piece: Piece) -> None:
        """Adds the call that has just ended; one whose arguments are cut off, or no object, is text."""
        call, written = self._call, self._arguments
        self._call, self._arguments = None, ""
        if call is None:
            return
        arguments = object_of(written)
        if arguments is not None:
            function = {"index": call.index, "name": call.name, "arguments": arguments}
            piece.calls.append({"id": call.id, "function": function})
        else:
            piece.text += f"{call.name}{written}"


class LoadAnswer:
    """A model that has been loaded, and nothing generated."""

    def __init__(self, model: str | None, shape: Shape) -> None:
        self._body = {"model": model, **shape(Piece()), "done": True, "done_reason": "load"}

    def take(self, event: Event) -> list[dict[str, Any]]:
        return [self.whole()] if isinstance(event, Finished) else []

    def whole(self) -> dict[str, Any]:
        return {"created_at": timestamp(), **self._body}


class EmbedAnswer:
    """Vectors; ``dimensions`` cuts each to its first ones and to the length of 1 again."""

    def __init__(self, model: str | None, dimensions: int | None = None) -> None:
        self._model, self._dimensions = model, dimensions
        self._clock = Clock()
        self._finished = Finished(Usage(), Timings())
        self.vectors: list[list[float]] = []

    def take(self, event: Event) -> list[dict[str, Any]]:
        self._clock.note(event)
        if isinstance(event, Vectors):
            self.vectors = [_cut(vector, self._dimensions) for vector in event.vectors]
        elif isinstance(event, Finished):
            self._finished = event
        return []

    def whole(self) -> dict[str, Any]:
        body = {"model": self._model, "embeddings": self.vectors}
        durations = self._clock.durations(self._finished.timings)
        return {**body, **durations, "prompt_eval_count": self._finished.usage.prompt_tokens}


class SingleEmbedAnswer(EmbedAnswer):
    """The one vector of the older route, ``/api/embeddings``."""

    def whole(self) -> dict[str, Any]:
        return {"embedding": self.vectors[0] if self.vectors else []}


def _cut(vector: list[float], dimensions: int | None) -> list[float]:
    if dimensions is None or dimensions >= len(vector):
        return vector
    cut = vector[:dimensions]
    length = math.hypot(*cut)
    return [value / length for value in cut] if length > 0 else cut


class PullAnswer:
    """A download: what it is at, and "success" as the last word. ``digest`` is the name of the file."""

    def __init__(self) -> None:
        self._begun = False
        self._shown: dict[str, Any] = {}

    def take(self, event: Event) -> list[dict[str, Any]]:
        lines: list[dict[str, Any]] = []
        if not self._begun:
            self._begun = True
            lines.append({"status": "pulling manifest"})
        if isinstance(event, Waiting) and event.progress:
            lines += self._progress(event.progress)
        elif isinstance(event, Finished):
            lines.append(self.whole())
        return lines

    def whole(self) -> dict[str, Any]:
        return {"status": "success"}

    def _progress(self, progress: dict[str, Any]) -> list[dict[str, Any]]:
        name, done = progress["file"], progress["bytes_done"]
        shown = {
            "status": f"pulling {name}",
            "digest": name,
            "total": progress["bytes_total"],
            "completed": done,
        }
        if shown == self._shown:
            return []
        self._shown = shown
        return [shown]
