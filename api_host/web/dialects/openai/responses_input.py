"""``instructions`` and ``input`` of ``/v1/responses``: items of a conversation, turned into this house's messages.

Knows the shape of items, not their order: what may follow what is the model's chat template's to say.
"""

from __future__ import annotations

from typing import Any

from api_host.generation import Message, ToolCall
from api_host.web.output import mended
from api_host.web.validation import shown

_ROLES = ("system", "developer", "user", "assistant")
_TEXT_PARTS = {"input_text": "text", "output_text": "text", "text": "text", "refusal": "refusal"}
_KINDS = ("message", "function_call", "function_call_output", "reasoning")
_KEPT_NOWHERE = "this host keeps nothing between requests"


def messages(instructions: str | None, items: str | list[dict[str, Any]]) -> list[Message]:
    """The chat in which ``input_problems`` found nothing; what an assistant says and calls in a row is one turn."""
    found = [Message("system", instructions)] if instructions else []
    if isinstance(items, str):
        return [*found, Message("user", items)]
    for item in items:
        _add(found, item)
    return found


def _add(chat: list[Message], item: dict[str, Any]) -> None:
    kind = _kind(item)
    last = chat[-1] if chat else Message("", "")
    if kind == "function_call":
        if last.role != "assistant":
            last = Message("assistant", "")
            chat.append(last)
        arguments = mended(item["arguments"].strip() or "{}")
        last.tool_calls.append(ToolCall(item["name"], arguments, item["call_id"]))
    elif kind == "function_call_output":
        called = {call.id: call.name for message in chat for call in message.tool_calls}
        call_id = item["call_id"]
        chat.append(Message("tool", _text(item["output"]), tool_call_id=call_id, name=called.get(call_id)))
    elif kind == "message":
        role = "system" if item["role"] == "developer" else item["role"]
        text = _text(item["content"])
        if role == last.role and (role == "assistant" or (role == "system" and len(chat) == 1)):
            last.content = "\n\n".join(said for said in (last.content, text) if said)
        else:
            chat.append(Message(role, text))


def input_problems(items: Any) -> list[str]:
    """What is wrong with ``input`` as it came."""
    if isinstance(items, list) and items:
        return [problem for i, item in enumerate(items) for problem in _item_problems(item, f"input.{i}")]
    if isinstance(items, str) and items:
        return []
    if items is None:
        wrong = "is missing"
    else:
        wrong = "is empty" if items in ("", []) else f"{shown(items)} is neither text nor a list"
    return [f"input: {wrong}; allowed: text, or a list of items"]


def _item_problems(item: Any, where: str) -> list[str]:
    if not isinstance(item, dict):
        return [f'{where}: {shown(item)} is no item; allowed: {{"role": ..., "content": ...}}']
    kind = _kind(item)
    if kind == "item_reference":
        return [f"{where}: refers to an item, but {_KEPT_NOWHERE}; allowed: the item itself"]
    if kind not in _KINDS:
        return [f"{where}.type: {shown(kind)} is not known; allowed: {', '.join(_KINDS)}"]
    if kind == "function_call":
        return _text_fields(item, where, "call_id", "name", "arguments")
    if kind == "function_call_output":
        return _text_fields(item, where, "call_id") + _content_problems(item, where, "output")
    return _message_problems(item, where) if kind == "message" else []


def _kind(item: dict[str, Any]) -> Any:
    return item.get("type", "message")


def _message_problems(item: dict[str, Any], where: str) -> list[str]:
    problems = []
    if item.get("role") not in _ROLES:
        wrong = f"{shown(item['role'])} is not known" if "role" in item else "is missing"
        problems.append(f"{where}.role: {wrong}; allowed: {', '.join(_ROLES)}")
    return problems + _content_problems(item, where, "content")


def _text_fields(item: dict[str, Any], where: str, *names: str) -> list[str]:
    return [
        f"{where}.{name}: {_is_no_text(item, name)}; allowed: text"
        for name in names
        if not isinstance(item.get(name), str)
    ]


def _content_problems(item: dict[str, Any], where: str, name: str) -> list[str]:
    content = item.get(name)
    if not isinstance(content, list):
        return [f"{problem}, or a list of text parts" for problem in _text_fields(item, where, name)]
    problems = []
    for i, part in enumerate(content):
        at = f"{where}.{name}.{i}"
        kind = part.get("type") if isinstance(part, dict) else None
        if not isinstance(kind, str):
            problems.append(f'{at}: {shown(part)} is no part; allowed: {{"type": "input_text", "text": ...}}')
        elif kind not in _TEXT_PARTS:
            problems.append(
                f"{at}.type: {shown(kind)} cannot be read, models see text alone here; "
                "allowed: input_text, output_text"
            )
        else:
            problems += _text_fields(part, at, _TEXT_PARTS[kind])
    return problems


def _is_no_text(item: dict[str, Any], name: str) -> str:
    return f"{shown(item[name])} is not text" if name in item else "is missing"


def _text(content: str | list[dict[str, Any]]) -> str:
    """The text of a content; parts are paragraphs."""
    if isinstance(content, str):
        return content
    return "\n".join(part[_TEXT_PARTS[part["type"]]] for part in content)
