"""The turns of a chat as the house knows them, with each result of a tool joined to the call that it answers.

Knows messages, no request. Ollama's clients send calls and results without ids, which some templates cannot do without.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator

from api_host.generation import Message, ToolCall
from api_host.web.dialects.ollama.bodies import Turn


def messages(turns: list[Turn]) -> list[Message]:
    """The turns in their order; a result without an id answers the first open call, by its tool's name if told."""
    numbers = itertools.count()
    unanswered: list[ToolCall] = []
    found = []
    for turn in turns:
        calls = list(_calls(turn, numbers))
        unanswered += calls
        answers = turn.tool_call_id
        if turn.role == "tool" and answers is None:
            answers = _answered(unanswered, turn.tool_name)
        found.append(Message(turn.role, turn.content or "", calls, answers, turn.tool_name))
    return found


def _calls(turn: Turn, numbers: Iterator[int]) -> Iterator[ToolCall]:
    for call in turn.tool_calls or []:
        arguments = json.dumps(call.function.arguments or {}, ensure_ascii=False)
        yield ToolCall(call.function.name, arguments, call.id or f"call{next(numbers):05}")


def _answered(unanswered: list[ToolCall], name: str | None) -> str | None:
    for call in unanswered:
        if name in (None, call.name):
            unanswered.remove(call)
            return call.id
    return None
