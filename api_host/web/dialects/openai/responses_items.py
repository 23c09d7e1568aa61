"""The items of a response's output as they are told: what opens, fills and closes a message, reasoning or a call.

Knows OpenAI's JSON of items and of the events about them (API reference, "Streaming events"), and not in which order
they come.
"""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from typing import Any

from api_host.web.dialects.openai.events import Body


class Item(ABC):
    """One item of the output: everything about it but what its text is.

    Args:
        index: its place in the output.
        prefix: the beginning of its id.
        body: its fields but id and status.
    """

    def __init__(self, index: int, prefix: str, body: Body) -> None:
        self.index = index
        self.id = f"{prefix}_{secrets.token_hex(12)}"
        self._body = body
        self._pieces: list[str] = []

    @property
    def text(self) -> str:
        return "".join(self._pieces)

    def body(self, status: str) -> Body:
        """The item as it stands."""
        return {"id": self.id, **self._body, "status": status}

    def opening(self) -> list[Body]:
        """The events that begin it."""
        return [self._event("response.output_item.added", item=self.body("in_progress"))]

    @abstractmethod
    def delta(self, text: str, logprobs: list[Body] | None = None) -> Body:
        """The event of one more piece of its text; ``logprobs`` are those of its tokens, for a message."""

    def closing(self, status: str) -> list[Body]:
        """The events that end it."""
        return [self._event("response.output_item.done", item=self.body(status))]

    def _event(self, kind: str, **fields: Any) -> Body:
        return {"type": kind, "output_index": self.index, **fields}


class TextItem(Item):
    """An item with one part of text in it: a message, or reasoning."""

    _KIND: str

    def _part(self) -> Body:
        return {"type": self._KIND, "text": self.text}

    def _done_fields(self) -> Body:
        return {"text": self.text}

    def body(self, status: str) -> Body:
        return {**super().body(status), "content": [] if status == "in_progress" else [self._part()]}

    def opening(self) -> list[Body]:
        return [*super().opening(), self._part_event("response.content_part.added", part=self._part())]

    def delta(self, text: str, logprobs: list[Body] | None = None) -> Body:
        self._pieces.append(text)
        return self._part_event(f"response.{self._KIND}.delta", delta=text)

    def closing(self, status: str) -> list[Body]:
        return [
            self._part_event(f"response.{self._KIND}.done", **self._done_fields()),
            self._part_event("response.content_part.done", part=self._part()),
            *super().closing(status),
        ]

    def _part_event(self, kind: str, **fields: Any) -> Body:
        return self._event(kind, item_id=self.id, content_index=0, **fields)


class MessageItem(TextItem):
    """What the model says."""

    _KIND = "output_text"

    def __init__(self, index: int) -> None:
        super().__init__(index, "msg", {"type": "message", "role": "assistant"})
        self._logprobs: list[Body] = []

    def delta(self, text: str, logprobs: list[Body] | None = None) -> Body:
        self._logprobs += logprobs or []
        return {**super().delta(text), "logprobs": logprobs or []}

    def _part(self) -> Body:
        return {**super()._part(), "annotations": [], "logprobs": self._logprobs}

    def _done_fields(self) -> Body:
        return {**super()._done_fields(), "logprobs": self._logprobs}


class ReasoningItem(TextItem):
    """What the model thinks before it answers."""

    _KIND = "reasoning_text"

    def __init__(self, index: int) -> None:
        super().__init__(index, "rs", {"type": "reasoning", "summary": []})


class CallItem(Item):
    """A function that the model calls."""

    def __init__(self, index: int, call_id: str, name: str) -> None:
        super().__init__(index, "fc", {"type": "function_call", "call_id": call_id, "name": name})

    def body(self, status: str) -> Body:
        return {**super().body(status), "arguments": self.text}

    def delta(self, text: str, logprobs: list[Body] | None = None) -> Body:
        self._pieces.append(text)
        return self._event("response.function_call_arguments.delta", item_id=self.id, delta=text)

    def closing(self, status: str) -> list[Body]:
        done = self._event("response.function_call_arguments.done", item_id=self.id, arguments=self.text)
        return [{**done, "name": self._body["name"]}, *super().closing(status)]
