"""What the Messages API answers with: the events of a stream, or the message that they add up to.

Knows events and their JSON, no request's fields and no route. The events are those of
https://docs.anthropic.com/en/docs/build-with-claude/streaming.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec
import pydantic_core

from api_host.errors import ApiHostError
from api_host.generation import Accepted, Chunk, Event, Finished, Usage
from api_host.web.dialects.anthropic.arguments import Readable
from api_host.web.dialects.anthropic.stops import StopCut
from api_host.web.dialects.anthropic.tools import Tools
from api_host.web.output import CallArguments, CallStarted, OutputParser, Part, Reasoning, Text, object_of

Told = dict[str, Any]
ErrorBody = Callable[[ApiHostError], Told]

_DELTAS = {"text": "text", "thinking": "thinking", "input_json": "partial_json"}


class Narration:
    """One answer as the events of a stream.

    Args:
        parse: a parser for the answer to a prompt, whose text it is given.
        stop: the stop sequences; the one that ended the text is at its end, and is cut off here.
        thinking: whether reasoning is told; else it is left out.
        tools: whether there may be several calls, or nothing else.
    """

    def __init__(
        self, parse: Callable[[str | None], OutputParser], stop: list[str], thinking: bool, tools: Tools
    ) -> None:
        self._parse = parse
        self._stop = StopCut(stop)
        self._thinking = thinking
        self._tools = tools
        self._parser: OutputParser | None = None
        self._finish_reason: str | None = None
        self._n_blocks = 0
        self._open: str | None = None
        self._called = False
        self._arguments = Readable()

    def take(self, event: Event) -> Iterator[Told]:
        """What a stream tells of an event."""
        if isinstance(event, Accepted):
            self._parser = self._parse(event.prompt)
            yield _message_start(event)
        elif isinstance(event, Chunk) and self._parser is not None:
            self._finish_reason = event.finish_reason or self._finish_reason
            yield from self._tell(self._parser.feed(self._stop.take(event)))
        elif isinstance(event, Finished) and self._parser is not None:
            yield from self._tell(self._parser.finish())
            yield from self._close()
            yield self._message_delta(event.usage)
            yield {"type": "message_stop"}

    def _tell(self, parts: list[Part]) -> Iterator[Told]:
        told: Iterable[Told]
        for part in parts:
            if isinstance(part, Text):
                # Where a call is forced, text is what is left of one that was cut.
                told = [] if self._tools.forced else self._piece("text", part.text)
            elif isinstance(part, Reasoning):
                told = self._piece("thinking", part.text) if self._thinking else []
            else:
                told = self._call(part) if self._tools.parallel or part.index == 0 else []
            yield from told

    def _call(self, part: CallStarted | CallArguments) -> Iterator[Told]:
        if isinstance(part, CallStarted):
            self._called = True
            self._arguments = Readable()
            called = "toolu_" + part.id.removeprefix("call_")
            yield from self._start({"type": "tool_use", "id": called, "name": part.name, "input": {}})
        elif text := self._arguments.take(part.text):
            yield self._delta("input_json", text)

    def _piece(self, kind: str, text: str) -> Iterator[Told]:
        if self._open != kind:
            block = {"type": kind, kind: ""}
            yield from self._start({**block, "signature": ""} if kind == "thinking" else block)
        yield self._delta(kind, text)

    def _start(self, block: Told) -> Iterator[Told]:
        yield from self._close()
        yield {"type": "content_block_start", "index": self._n_blocks, "content_block": block}
        self._open = block["type"]
        self._n_blocks += 1

    def _delta(self, kind: str, text: str) -> Told:
        delta = {"type": f"{kind}_delta", _DELTAS[kind]: text}
        return {"type": "content_block_delta", "index": self._n_blocks - 1, "delta": delta}

    def _close(self) -> Iterator[Told]:
        if self._open is not None:
            self._open = None
            yield {"type": "content_block_stop", "index": self._n_blocks - 1}

    def _message_delta(self, usage: Usage) -> Told:
        if self._finish_reason == "length":
            reason = "max_tokens"
        elif self._called:
            reason = "tool_use"
        else:
            reason = "stop_sequence" if self._stop.matched is not None else "end_turn"
        matched = self._stop.matched if reason == "stop_sequence" else None
        delta = {"stop_reason": reason, "stop_sequence": matched}
        return {"type": "message_delta", "delta": delta, "usage": usage_body(usage)}


def _message_start(accepted: Accepted) -> Told:
    message: Told = {
        "id": f"msg_{secrets.token_hex(12)}",
        "type": "message",
        "role": "assistant",
        "model": accepted.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage_body(Usage(accepted.n_prompt_tokens)),
    }
    return {"type": "message_start", "message": message}


def usage_body(usage: Usage) -> dict[str, int]:
    """The tokens of one request; those of the prompt that were still in the KV cache are counted apart."""
    return {
        "input_tokens": usage.prompt_tokens - usage.cached_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": usage.cached_tokens,
        "output_tokens": usage.completion_tokens,
    }


class EventStream:
    """Server-sent events, each named by its type."""

    content_type = "text/event-stream; charset=utf-8"
    streamed = True
    keep_alive = b'event: ping\ndata: {"type":"ping"}\n\n'

    def __init__(self, narration: Narration, error_body: ErrorBody) -> None:
        self._narration = narration
        self._error_body = error_body

    def feed(self, event: Event) -> bytes:
        return b"".join(_event(told) for told in self._narration.take(event))

    def failed(self, error: ApiHostError) -> bytes:
        return _event(self._error_body(error))


def _event(told: Told) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (told["type"].encode(), msgspec.json.encode(told))


class WholeMessage:
    """The message that the events add up to, after as many spaces as it takes."""

    content_type = "application/json"
    streamed = False
    keep_alive = b" "

    def __init__(self, narration: Narration, error_body: ErrorBody) -> None:
        self._narration = narration
        self._error_body = error_body
        self._message: Told = {}
        self._pieces: list[str] = []

    def feed(self, event: Event) -> bytes:
        for told in self._narration.take(event):
            self._add(told)
        return msgspec.json.encode(self._message) if isinstance(event, Finished) else b""

    def _add(self, told: Told) -> None:
        kind = told["type"]
        if kind == "message_start":
            self._message = told["message"]
        elif kind == "content_block_start":
            self._message["content"].append(told["content_block"])
        elif kind == "content_block_delta":
            self._pieces += [text for name, text in told["delta"].items() if name != "type"]
        elif kind == "content_block_stop":
            self._fill(self._message["content"][-1], "".join(self._pieces))
            self._pieces = []
        elif kind == "message_delta":
            self._message |= {**told["delta"], "usage": told["usage"]}

    def _fill(self, block: Told, text: str) -> None:
        if block["type"] == "tool_use":
            block["input"] = _input(text)
        else:
            block[block["type"]] = text

    def failed(self, error: ApiHostError) -> bytes:
        return msgspec.json.encode(self._error_body(error))


def _input(arguments: str) -> Told:
    """The object of a call's arguments, as far as it goes when the text ended within."""
    whole = object_of(arguments)
    if whole is not None:
        return whole
    try:
        found = pydantic_core.from_json(arguments, allow_partial=True)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


class CountFormat:
    """The number of tokens of a prompt."""

    content_type = "application/json"
    streamed = False
    keep_alive = b" "

    def __init__(self, error_body: ErrorBody) -> None:
        self._error_body = error_body

    def feed(self, event: Event) -> bytes:
        if not isinstance(event, Finished):
            return b""
        return msgspec.json.encode({"input_tokens": event.usage.prompt_tokens})

    def failed(self, error: ApiHostError) -> bytes:
        return msgspec.json.encode(self._error_body(error))
