"""A conversation as Anthropic writes it, as this house's turns; what is wrong with it is told in sentences.

Knows roles and content blocks, no route, no template and no tool but by name. The blocks are those of the Messages
API (https://docs.anthropic.com/en/api/messages).
"""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import WithJsonSchema

from api_host.generation import Message, ToolCall
from api_host.web.validation import shown

# The types of blocks that a turn of each role may hold; the last two are the model's own and not read again.
BLOCKS = {
    "system": ("text",),
    "user": ("text", "tool_result"),
    "assistant": ("text", "tool_use", "thinking", "redacted_thinking"),
}
_NOT_TEXT = {"image": "images", "document": "documents"}
_BETWEEN = "\n\n"

_CONTENT = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "object"}}]}
Turn = Annotated[
    Any,
    WithJsonSchema(
        {
            "type": "object",
            "properties": {"role": {"enum": list(BLOCKS)}, "content": _CONTENT},
            "required": ["role", "content"],
        }
    ),
]
System = Annotated[Any, WithJsonSchema({"anyOf": [*_CONTENT["anyOf"], {"type": "null"}]})]


class Conversation:
    """The turns of ``system`` and ``messages``; consecutive ones of a role are one.

    Args:
        messages: the parsed JSON of ``messages``; anything but a list has no turns.
        system: that of ``system``: a text, text blocks or None.

    ``turns`` may be answered when ``problems``, a sentence each, are none.
    """

    def __init__(self, messages: Any, system: Any = None) -> None:
        self.turns: list[Message] = []
        self.problems: list[str] = []
        self._called: dict[str, str] = {}
        told = self._text(system, "system") if system is not None else ""
        if told:
            self._add(Message("system", told))
        turns = messages if isinstance(messages, list) else []
        for i, turn in enumerate(turns):
            self._read(turn, f"messages.{i}", last=i == len(turns) - 1)
        if isinstance(messages, list) and not self.problems:
            self._check_order()

    @property
    def is_begun_answer(self) -> bool:
        """Whether the last turn is the beginning of the answer, to be gone on with."""
        return bool(self.turns) and self.turns[-1].role == "assistant"

    def _check_order(self) -> None:
        spoken = [turn for turn in self.turns if turn.role != "system"]
        if not spoken or spoken[0].role == "assistant":
            self.problems.append(
                "messages: no turn of the user comes first; allowed: a chat that the user begins"
            )
        elif self.turns[-1].tool_calls:
            self.problems.append(
                "messages: the last turn calls tools; allowed: after it a turn of the user with their tool_result"
            )

    def _read(self, turn: Any, where: str, last: bool) -> None:
        if not isinstance(turn, dict):
            self.problems.append(f'{where}: {shown(turn)} is not a turn; allowed: {{"role", "content"}}')
            return
        role, content = turn.get("role"), turn.get("content")
        if not isinstance(role, str) or role not in BLOCKS:
            wrong = f"{shown(role)} is not known" if "role" in turn else "is missing"
            self.problems.append(f"{where}.role: {wrong}; allowed: user, assistant, system")
        elif content in ("", []) and not (last and role == "assistant"):
            self.problems.append(f"{where}.content: is empty; allowed: a text or content blocks")
        else:
            self._read_blocks(role, content, f"{where}.content")

    def _read_blocks(self, role: str, content: Any, where: str) -> None:
        texts, calls, results = [], [], []
        for block, at in self._blocks(content, where, BLOCKS[role]):
            if block["type"] == "text":
                texts.append(self._named(block, "text", at))
            elif block["type"] == "tool_use":
                calls.append(self._call(block, at))
            elif block["type"] == "tool_result":
                results.append(self._result(block, at))
        # A template expects the answers to calls right after them.
        for result in results:
            self.turns.append(result)
        text = _BETWEEN.join(text for text in texts if text)
        if text or calls:
            self._add(Message(role, text, calls))

    def _add(self, turn: Message) -> None:
        before = self.turns[-1] if self.turns else None
        if before is None or before.role != turn.role:
            self.turns.append(turn)
            return
        before.content = _BETWEEN.join(text for text in (before.content, turn.content) if text)
        before.tool_calls += turn.tool_calls

    def _blocks(self, content: Any, where: str, allowed: tuple[str, ...]) -> list[tuple[dict[str, Any], str]]:
        """The blocks of a content that may stand there, each with its place; the others are problems."""
        if isinstance(content, str):
            return [({"type": "text", "text": content}, where)]
        if not isinstance(content, list):
            wrong = "is missing" if content is None else f"{shown(content)} is neither text nor a list"
            self.problems.append(f"{where}: {wrong}; allowed: a text, or a list of blocks")
            return []
        found = []
        for i, block in enumerate(content):
            kind = block.get("type") if isinstance(block, dict) else None
            if isinstance(kind, str) and kind in allowed:
                found.append((block, f"{where}.{i}"))
            else:
                self.problems.append(f"{where}.{i}{_refusal(block, kind)}; allowed: {', '.join(allowed)}")
        return found

    def _text(self, content: Any, where: str) -> str:
        blocks = self._blocks(content, where, ("text",))
        return _BETWEEN.join(filter(None, (self._named(block, "text", at) for block, at in blocks)))

    def _named(self, block: dict[str, Any], name: str, where: str) -> str:
        """A field of a block that has to be text; "" and a problem where it is not."""
        value = block.get(name)
        if isinstance(value, str):
            return value
        wrong = f"{shown(value)} is not text" if name in block else "is missing"
        self.problems.append(f"{where}.{name}: {wrong}; allowed: text")
        return ""

    def _call(self, block: dict[str, Any], where: str) -> ToolCall:
        name, called = self._named(block, "name", where), self._named(block, "id", where)
        arguments = block.get("input", {})
        if not isinstance(arguments, dict):
            self.problems.append(f"{where}.input: {shown(arguments)} is not an object; allowed: an object")
        self._called[called] = name
        return ToolCall(name, json.dumps(arguments, ensure_ascii=False), called)

    def _result(self, block: dict[str, Any], where: str) -> Message:
        called = self._named(block, "tool_use_id", where)
        if called and called not in self._called:
            self.problems.append(
                f"{where}.tool_use_id: {shown(called)} answers no call; allowed: the id of a tool_use before it"
            )
        text = self._text(block.get("content", ""), f"{where}.content")
        if block.get("is_error") is True:
            text = f"Error: {text}"
        return Message("tool", text, tool_call_id=called, name=self._called.get(called))


def _refusal(block: Any, kind: Any) -> str:
    """Why a block may not stand where it does, from the end of its place's name on."""
    if not isinstance(block, dict):
        return f": {shown(block)} is not a block"
    if isinstance(kind, str) and kind in _NOT_TEXT:
        return f": {_NOT_TEXT[kind]} cannot be read here, only text"
    return f".type: {shown(kind)} cannot stand here" if "type" in block else ".type: is missing"
