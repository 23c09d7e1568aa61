"""``messages``: a chat as OpenAI's clients send it, turned into this house's messages.

Knows the shape of turns, not their order: what may follow what is the model's chat template's to say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from api_host.generation import Message, ToolCall
from api_host.web.output import mended, object_of
from api_host.web.validation import shown

_TEXT_PARTS = {"text": "text", "refusal": "refusal"}


@dataclass
class FunctionCalled:
    __pydantic_config__ = {"extra": "ignore"}

    name: str
    arguments: str


@dataclass
class Call:
    """A call that an assistant's turn has made."""

    __pydantic_config__ = {"extra": "ignore"}

    function: FunctionCalled
    id: str = ""
    type: Literal["function"] = "function"


@dataclass
class Turn:
    """One of ``messages``; its content is text, or a list of text parts."""

    __pydantic_config__ = {"extra": "ignore"}

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Any = None
    name: str | None = None
    tool_calls: list[Call] | None = None
    tool_call_id: str | None = None


def messages(turns: list[Turn]) -> list[Message]:
    """The turns in which ``history_problems`` found nothing; a tool's turn gets the name of what was called."""
    called: dict[str, str] = {}
    found = []
    for turn in turns:
        calls = [
            ToolCall(call.function.name, mended(call.function.arguments.strip() or "{}"), call.id)
            for call in turn.tool_calls or []
        ]
        called |= {call.id: call.name for call in calls}
        found.append(
            Message(
                role="system" if turn.role == "developer" else turn.role,
                content=_text(turn.content),
                tool_calls=calls,
                tool_call_id=turn.tool_call_id,
                name=turn.name or called.get(turn.tool_call_id or ""),
            )
        )
    return found


def history_problems(turns: Any) -> list[str]:
    """What is wrong inside the turns of a body as it came: contents, and calls with their answers."""
    listed = turns if isinstance(turns, list) else []
    return [
        problem
        for i, turn in enumerate(listed)
        if isinstance(turn, dict)
        for problem in _turn_problems(turn, f"messages.{i}")
    ]


def _turn_problems(turn: dict[str, Any], where: str) -> list[str]:
    role, content = turn.get("role"), turn.get("content")
    problems = _call_problems(turn.get("tool_calls"), f"{where}.tool_calls")
    if role == "assistant" and turn.get("function_call") is not None:
        problems.append(f"{where}.function_call: is no longer spoken here; allowed: tool_calls")
    if role != "assistant" and turn.get("tool_calls"):
        problems.append(f"{where}.tool_calls: cannot stand here; allowed: in a turn of the role assistant")
    if role == "tool" and not turn.get("tool_call_id"):
        problems.append(f"{where}.tool_call_id: is missing; allowed: the id of the call that is answered")
    if content is None and role == "assistant":
        return problems
    return problems + _content_problems(content, f"{where}.content", "content" in turn)


def _content_problems(content: Any, where: str, given: bool) -> list[str]:
    if isinstance(content, str):
        return []
    if isinstance(content, list):
        return [problem for i, part in enumerate(content) for problem in _part_problems(part, f"{where}.{i}")]
    wrong = f"{shown(content)} is neither text nor a list" if given else "is missing"
    return [f"{where}: {wrong}; allowed: text, or a list of text parts"]


def _part_problems(part: Any, where: str) -> list[str]:
    kind = part.get("type") if isinstance(part, dict) else None
    if not isinstance(kind, str):
        return [f'{where}: {shown(part)} is not a part; allowed: {{"type": "text", "text": ...}}']
    if kind not in _TEXT_PARTS:
        return [f"{where}.type: {shown(kind)} cannot be read, models see text alone here; allowed: text"]
    key = _TEXT_PARTS[kind]
    if isinstance(part.get(key), str):
        return []
    wrong = f"{shown(part[key])} is not text" if key in part else "is missing"
    return [f"{where}.{key}: {wrong}; allowed: text"]


def _call_problems(calls: Any, where: str) -> list[str]:
    problems = []
    for i, call in enumerate(calls if isinstance(calls, list) else []):
        function = call.get("function") if isinstance(call, dict) else None
        arguments = function.get("arguments") if isinstance(function, dict) else None
        if isinstance(arguments, str) and object_of(arguments) is None:
            problems.append(
                f"{where}.{i}.function.arguments: {shown(arguments)} is no JSON object; "
                "allowed: the text of a JSON object"
            )
    return problems


def _text(content: Any) -> str:
    """The text of a content; parts are paragraphs."""
    if isinstance(content, list):
        return "\n".join(part[_TEXT_PARTS[part["type"]]] for part in content)
    return content or ""
