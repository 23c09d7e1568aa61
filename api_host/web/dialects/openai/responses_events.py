"""What ``/v1/responses`` answers with: the events of a stream, of which the last one tells the whole response.

Knows this house's events and the order of OpenAI's (API reference, "Streaming events"), no request and no route.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable

import msgspec

from api_host.errors import ApiHostError
from api_host.generation import Accepted, Chunk, Event, Finished, TokenLogprob, Usage
from api_host.web.dialects.openai.errors import error_object
from api_host.web.dialects.openai.events import Body
from api_host.web.dialects.openai.responses_items import CallItem, Item, MessageItem, ReasoningItem
from api_host.web.dialects.openai.usage import logprob_number, reasoning_tokens
from api_host.web.output import CallArguments, CallStarted, OutputParser, Part, Reasoning, Text


class ResponseAnswer:
    """The events of one response.

    Args:
        asked: what the response repeats of its request.
        make_parser: makes the reader of the text, given the rendered prompt.
        several_calls: whether more than one function may be called; else the first call counts.
    """

    def __init__(
        self, asked: Body, make_parser: Callable[[str | None], OutputParser], several_calls: bool = True
    ) -> None:
        self._head = {
            "id": f"resp_{secrets.token_hex(16)}",
            "object": "response",
            "created_at": int(time.time()),
            **asked,
        }
        self._make_parser = make_parser
        self._several_calls = several_calls
        self._parser: OutputParser | None = None
        self._sequence = 0
        self._open: Item | None = None
        self._output: list[Body] = []
        self._untold: list[Body] = []
        self._n_untold = self._n_reasoning = 0
        self._cut = False

    def take(self, event: Event) -> list[Body]:
        """The bodies of the stream's events."""
        bodies: list[Body] = []
        match event:
            case Accepted(model=model, prompt=prompt):
                self._head["model"] = model
                self._parser = self._make_parser(prompt)
                bodies = [self._lifecycle(status, "in_progress") for status in ("created", "in_progress")]
            case Chunk() if self._parser is not None:
                bodies = self._chunk(self._parser, event)
            case Finished(usage=usage):
                status = "incomplete" if self._cut else "completed"
                bodies = [self._lifecycle(status, status, usage)]
        return self._numbered(bodies)

    def failed(self, error: ApiHostError) -> list[Body]:
        """The last events, when it fails: the response with its error, if it has begun, and the error alone."""
        told = error_object(error)
        alone = {
            "type": "error",
            "code": told["code"],
            "message": error.message,
            "param": told["param"],
            "error": told,
        }
        if self._parser is None:
            return self._numbered([alone])
        code = "server_error" if error.status >= 500 else "invalid_prompt"
        code = "rate_limit_exceeded" if error.status == 429 else code
        failed = self._lifecycle("failed", "failed")
        failed["response"]["error"] = {"code": code, "message": error.message}
        return self._numbered([failed, alone])

    def _numbered(self, bodies: list[Body]) -> list[Body]:
        first = self._sequence
        self._sequence += len(bodies)
        return [{**body, "sequence_number": first + i} for i, body in enumerate(bodies)]

    def _lifecycle(self, event: str, status: str, usage: Usage | None = None) -> Body:
        response = {
            **self._head,
            "status": status,
            "error": None,
            "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
            "output": list(self._output),
            "usage": _usage_body(usage, self._n_reasoning) if usage is not None else None,
        }
        if status == "completed":
            response["completed_at"] = int(time.time())
        return {"type": f"response.{event}", "response": response}

    def _chunk(self, parser: OutputParser, chunk: Chunk) -> list[Body]:
        parts = parser.feed(chunk.text)
        if chunk.finish_reason is not None:
            parts += parser.finish()
        self._n_untold += chunk.n_tokens
        self._untold += [_logprob(entry) for entry in chunk.logprobs or []]
        if parts:
            self._n_reasoning += reasoning_tokens(parts, self._n_untold)
            self._n_untold = 0
        bodies = [body for part in parts for body in self._part(part)]
        if parts:
            self._untold = []
        if chunk.finish_reason is not None:
            self._cut = chunk.finish_reason != "stop"
            bodies += self._end()
        return bodies

    def _part(self, part: Part) -> list[Body]:
        match part:
            case Text(text=text):
                bodies = [] if isinstance(self._open, MessageItem) else self._begin(MessageItem)
                bodies += self._filled(text, self._untold)
                self._untold = []
            case Reasoning(text=text):
                bodies = [] if isinstance(self._open, ReasoningItem) else self._begin(ReasoningItem)
                bodies += self._filled(text)
            case CallStarted(id=call_id, name=name) if part.index == 0 or self._several_calls:
                bodies = self._begin(lambda index: CallItem(index, call_id, name))
            case CallArguments(text=text) if part.index == 0 or self._several_calls:
                bodies = self._filled(text)
            case _:
                bodies = []
        return bodies

    def _begin(self, make: Callable[[int], Item]) -> list[Body]:
        bodies = self._close("completed")
        self._open = make(len(self._output))
        return bodies + self._open.opening()

    def _filled(self, text: str, logprobs: list[Body] | None = None) -> list[Body]:
        return [self._open.delta(text, logprobs)] if self._open is not None else []

    def _close(self, status: str) -> list[Body]:
        if self._open is None:
            return []
        closed, self._open = self._open, None
        self._output.append(closed.body(status))
        return closed.closing(status)

    def _end(self) -> list[Body]:
        """Ends the output, which has a message in it even when the model says nothing at all."""
        if self._cut:
            return self._close("incomplete")
        said = any(item["type"] != "reasoning" for item in self._output)
        if not said and (self._open is None or isinstance(self._open, ReasoningItem)):
            return self._begin(MessageItem) + self._close("completed")
        return self._close("completed")


class WholeResponse:
    """The events of a stream folded into the response: the last one that tells it."""

    def __init__(self) -> None:
        self._last: Body = {}

    def add(self, body: Body) -> None:
        self._last = body.get("response", self._last)

    def whole(self) -> Body:
        return self._last


class NamedEvents:
    """Server-sent events with names, and no further sign at the end; keep-alives are comments."""

    content_type = "text/event-stream; charset=utf-8"
    streamed = True
    keep_alive = b":\n\n"

    def __init__(self, answer: ResponseAnswer) -> None:
        self._answer = answer

    def feed(self, event: Event) -> bytes:
        return b"".join(map(_event, self._answer.take(event)))

    def failed(self, error: ApiHostError) -> bytes:
        return b"".join(map(_event, self._answer.failed(error)))


def _event(body: Body) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (body["type"].encode(), msgspec.json.encode(body))


def _logprob(entry: TokenLogprob) -> Body:
    return {**_token(entry), "top_logprobs": [_token(other) for other in entry.top]}


def _token(entry: TokenLogprob) -> Body:
    return {"token": entry.token, "logprob": logprob_number(entry), "bytes": list(entry.as_bytes)}


def _usage_body(usage: Usage, n_reasoning: int) -> Body:
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cached_tokens,
            "cache_write_tokens": usage.prompt_tokens - usage.cached_tokens,
        },
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": n_reasoning},
        "total_tokens": usage.total_tokens,
    }
