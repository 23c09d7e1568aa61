"""What ``/v1/chat/completions`` answers with: the chunks of a stream, and what they add up to.

Knows events and OpenAI's JSON (API reference, "The chat completion chunk object"), no request and no route.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable

from api_host.generation import Accepted, Chunk, Event, Finished, TokenLogprob
from api_host.web.dialects.openai.events import Body
from api_host.web.dialects.openai.usage import logprob_number, reasoning_tokens, usage_body
from api_host.web.output import CallArguments, CallStarted, OutputParser, Part, Reasoning, Text


class ChatAnswer:
    """The chunks of one answer.

    Args:
        n: choices.
        make_parser: makes the reader of one choice's text, given the rendered prompt.
        several_calls: whether a choice may call more than one tool; else the first call counts.
    """

    def __init__(
        self, n: int, make_parser: Callable[[str | None], OutputParser], several_calls: bool = True
    ) -> None:
        self._n = n
        self._make_parser = make_parser
        self._several_calls = several_calls
        self._turns: list[_Turn] = []
        self._head: Body = {
            "id": f"chatcmpl-{secrets.token_hex(12)}",
            "object": "chat.completion.chunk",
            "created": int(time.time()),
        }

    def take(self, event: Event) -> list[Body]:
        """The bodies of the stream's events; Finished tells the usage."""
        match event:
            case Accepted(model=model, prompt=prompt):
                self._head["model"] = model
                self._turns = [_Turn(self._make_parser(prompt), self._several_calls) for _ in range(self._n)]
                first = {
                    "delta": {"role": "assistant", "content": ""},
                    "logprobs": None,
                    "finish_reason": None,
                }
                return [self._body(i, first) for i in range(self._n)]
            case Chunk(index=index):
                return [self._body(index, choice) for choice in self._turns[index].take(event)]
            case Finished(usage=usage):
                reasoning = sum(turn.n_reasoning for turn in self._turns)
                return [{**self._head, "choices": [], "usage": usage_body(usage, reasoning)}]
        return []

    def _body(self, index: int, choice: Body) -> Body:
        return {**self._head, "choices": [{"index": index, **choice}]}


class _Turn:
    """One choice as it is told: its parts, and the tokens behind what is still held back."""

    def __init__(self, parser: OutputParser, several_calls: bool) -> None:
        self.n_reasoning = 0
        self._parser = parser
        self._several_calls = several_calls
        self._n_calls = 0
        self._n_untold = 0
        self._logprobs: list[TokenLogprob] = []

    def take(self, chunk: Chunk) -> list[Body]:
        parts = self._parser.feed(chunk.text)
        if chunk.finish_reason is not None:
            parts += self._parser.finish()
        self._n_untold += chunk.n_tokens
        self._logprobs += chunk.logprobs or []
        if parts:
            self.n_reasoning += reasoning_tokens(parts, self._n_untold)
            self._n_untold = 0
        deltas = [delta for delta in map(self._delta, parts) if delta]
        choices: list[Body] = [
            {"delta": delta, "logprobs": self._take_logprobs(), "finish_reason": None} for delta in deltas
        ]
        if chunk.finish_reason is not None:
            reason = "tool_calls" if self._n_calls and chunk.finish_reason == "stop" else chunk.finish_reason
            choices.append({"delta": {}, "logprobs": self._take_logprobs(), "finish_reason": reason})
        return choices

    def _delta(self, part: Part) -> Body:
        match part:
            case Text(text=text):
                return {"content": text}
            case Reasoning(text=text):
                return {"reasoning_content": text}
            case CallStarted(index=index, id=id, name=name):
                if index and not self._several_calls:
                    return {}
                self._n_calls += 1
                function = {"name": name, "arguments": ""}
                return {"tool_calls": [{"index": index, "id": id, "type": "function", "function": function}]}
            case CallArguments(index=index, text=text):
                if index and not self._several_calls:
                    return {}
                return {"tool_calls": [{"index": index, "function": {"arguments": text}}]}

    def _take_logprobs(self) -> Body | None:
        taken, self._logprobs = self._logprobs, []
        return {"content": [_told(entry) for entry in taken], "refusal": None} if taken else None


class WholeChat:
    """The chunks of a stream folded into a ``chat.completion``."""

    def __init__(self) -> None:
        self._last: Body = {}
        self._choices: dict[int, Body] = {}

    def add(self, body: Body) -> None:
        self._last = body
        for choice in body["choices"]:
            whole = self._choices.setdefault(choice["index"], _empty_choice(choice["index"]))
            _fold(whole, choice)

    def whole(self) -> Body:
        choices = [choice for _, choice in sorted(self._choices.items())]
        for choice in choices:
            message = choice["message"]
            if message.get("tool_calls") and not message["content"]:
                message["content"] = None
        return {**self._last, "object": "chat.completion", "choices": choices}


def _empty_choice(index: int) -> Body:
    message = {"role": "assistant", "content": "", "refusal": None}
    return {"index": index, "message": message, "logprobs": None, "finish_reason": None}


def _fold(whole: Body, choice: Body) -> None:
    delta, message = choice["delta"], whole["message"]
    for key in ("content", "reasoning_content"):
        if key in delta:
            message[key] = message.get(key, "") + delta[key]
    for call in delta.get("tool_calls", []):
        calls = message.setdefault("tool_calls", [])
        if "id" in call:
            calls.append({"id": call["id"], "type": "function", "function": dict(call["function"])})
        else:
            calls[call["index"]]["function"]["arguments"] += call["function"]["arguments"]
    if choice["logprobs"] is not None:
        told = whole["logprobs"] = whole["logprobs"] or {"content": [], "refusal": None}
        told["content"] += choice["logprobs"]["content"]
    whole["finish_reason"] = choice["finish_reason"]


def _told(entry: TokenLogprob) -> Body:
    return {**_token(entry), "top_logprobs": [_token(other) for other in entry.top]}


def _token(entry: TokenLogprob) -> Body:
    return {
        "token": entry.token,
        "logprob": logprob_number(entry),
        "bytes": list(entry.as_bytes),
    }
