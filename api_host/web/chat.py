"""Chat histories from JSON: who may speak when, told in plain sentences.

Knows the roles and their order, no route, no dialect and no template.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import WithJsonSchema

from api_host.generation import Message
from api_host.web.validation import shown

ROLES = ("system", "user", "assistant")
_FIELDS = ("role", "content")

TURN_SCHEMA = {
    "type": "object",
    "properties": {"role": {"enum": list(ROLES)}, "content": {"type": "string"}},
    "required": list(_FIELDS),
    "additionalProperties": False,
}
Turn = Annotated[Any, WithJsonSchema(TURN_SCHEMA)]
"""One turn as it comes; ``chat_problems`` tells what is wrong with it."""


def chat_problems(turns: list[Any], name: str) -> list[str]:
    """What is wrong with a chat: an optional system turn, then user and assistant in turn, a user last.

    Args:
        turns: the parsed JSON list.
        name: the field's name, for the sentences.

    Returns:
        A sentence for each thing that is wrong; empty for a chat that can be answered.
    """
    if not turns:
        return [f"{name}: the list is empty; allowed: at least one turn, with the role user"]
    problems = [problem for i, turn in enumerate(turns) for problem in _turn_problems(turn, f"{name}.{i}")]
    return problems or _order_problems([turn["role"] for turn in turns], name)


def messages(turns: list[Any]) -> list[Message]:
    """The turns of a chat in which ``chat_problems`` found nothing."""
    return [Message(turn["role"], turn["content"]) for turn in turns]


def _turn_problems(turn: Any, where: str) -> list[str]:
    if not isinstance(turn, dict):
        return [f'{where}: {shown(turn)} is not a turn; allowed: {{"role": ..., "content": ...}}']
    problems = [
        f"{where}.{key[:60]}: there is no such field; allowed: {', '.join(_FIELDS)}"
        for key in turn
        if key not in _FIELDS
    ]
    if turn.get("role") not in ROLES:
        role = f"{shown(turn['role'])} is not known" if "role" in turn else "is missing"
        problems.append(f"{where}.role: {role}; allowed: {', '.join(ROLES)}")
    if not isinstance(turn.get("content"), str):
        content = f"{shown(turn['content'])} is not text" if "content" in turn else "is missing"
        problems.append(f"{where}.content: {content}; allowed: text")
    return problems


def _order_problems(roles: list[str], name: str) -> list[str]:
    first = 1 if roles[0] == "system" else 0
    for i, role in enumerate(roles[first:], first):
        expected = "user" if (i - first) % 2 == 0 else "assistant"
        if role != expected:
            return [
                f"{name}.{i}.role: {role} cannot stand here; allowed: {expected} "
                "(an optional system first, then user and assistant in turn)"
            ]
    if roles[-1] != "user":
        return [f"{name}: the last turn is {roles[-1]}; allowed: user, so that there is something to answer"]
    return []
