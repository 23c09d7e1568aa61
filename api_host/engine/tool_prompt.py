"""Tools and the turns that use them, as chat templates take them: as their variables, or told in plain words.

Knows messages, no template and no model. The plain words ask for the form of a call that Hermes models use
(NousResearch's Hermes-Function-Calling), which is the one that most models have seen.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from api_host.generation import Message, ToolCall

SHORT_ID = 9  # characters of an id in Mistral's templates, which refuse any other length

_HOW_TO_CALL = """\
You can call functions. These are described here, one JSON object a line; "parameters" is a JSON schema:
{functions}

To call a function, answer with its name and its arguments in exactly this form, once for each call:
<tool_call>
{{"name": "the function's name", "arguments": {{"a parameter's name": "its value"}}}}
</tool_call>
What the function returns is told to you in the next turn. When no function is needed, answer in plain text."""


def with_tools(
    messages: list[Message], tools: list[dict[str, Any]], *, in_system: bool = True
) -> list[Message]:
    """The chat in turns of system, user and assistant alone, for a template that knows nothing of tools.

    Args:
        messages: the chat; it is not changed.
        tools: functions as OpenAI describes them; none: only the turns are told in words.
        in_system: whether the template shows a turn of the system.

    Returns:
        The functions at the end of the system turn, which is made if there is none, or in front of what the user says
        first; calls as text of the assistant; results as the user's, in one turn with what the user says next to
        them, so that the roles still alternate.
    """
    names = _names_by_id(messages)
    told: list[Message] = []
    last_is_result = False
    for message in messages:
        is_result = message.role == "tool"
        turn = _in_words(message, names)
        if told and turn.role == told[-1].role == "user" and (is_result or last_is_result):
            turn = replace(turn, content=f"{told.pop().content}\n{turn.content}")
        told.append(turn)
        last_is_result = is_result
    if not tools:
        return told
    functions = "\n".join(json.dumps(tool.get("function", tool), ensure_ascii=False) for tool in tools)
    how = _HOW_TO_CALL.format(functions=functions)
    first = next((i for i, turn in enumerate(told) if turn.role == "user"), None)
    if not in_system and first is not None:
        told[first] = replace(told[first], content=f"{how}\n\n{told[first].content}")
        return told
    if told and told[0].role == "system":
        return [replace(told[0], content=f"{told[0].content}\n\n{how}"), *told[1:]]
    return [Message("system", how), *told]


def without_system(messages: list[Message]) -> list[Message]:
    """The chat for a template that shows no turn of the system: what one says stands in front of the user's next."""
    told: list[Message] = []
    said: list[str] = []
    for message in messages:
        if message.role == "system":
            said.append(message.content)
            continue
        if message.role == "user":
            message = replace(message, content="\n\n".join([*said, message.content]))
            said = []
        told.append(message)
    return [*told, Message("user", "\n\n".join(said))] if said else told


def with_first_system(messages: list[Message]) -> list[Message]:
    """The chat for a template that shows one turn of the system: those it begins with are one, later ones as in
    ``without_system``."""
    n = next((i for i, turn in enumerate(messages) if turn.role != "system"), len(messages))
    first = [Message("system", "\n\n".join(turn.content for turn in messages[:n]))] if n else []
    return first + without_system(messages[n:])


def one_call_a_turn(messages: list[Message]) -> list[Message]:
    """The chat for a template that takes one call a turn: each call is a turn, with what it returned behind it."""
    runs: list[list[Message]] = []
    of_call: dict[str | None, list[Message]] = {}
    for message in messages:
        if message.role == "tool" and runs:
            of_call.get(message.tool_call_id, runs[-1]).append(message)
            continue
        first, rest = message.tool_calls[:1], message.tool_calls[1:]
        runs.append([replace(message, tool_calls=first)])
        runs += [[replace(message, content="", tool_calls=[call])] for call in rest]
        for call, run in zip(reversed(message.tool_calls), reversed(runs), strict=False):
            of_call[call.id] = run
    return [turn for run in runs for turn in run]


def as_template_dicts(messages: list[Message], *, short_ids: bool = False) -> list[dict[str, Any]]:
    """The chat for a template that knows tools, in the shape of ``transformers.apply_chat_template``.

    Args:
        messages: the chat.
        short_ids: whether ids are cut to their last ``SHORT_ID`` characters, as Mistral's templates want them.

    Returns:
        ``{"role", "content"}``; with ``tool_calls`` where calls are made, each ``{"id", "type", "function": {"name",
        "arguments"}}`` with the arguments as an object; with ``tool_call_id`` and ``name`` where one is answered.
    """
    names = _names_by_id(messages)
    return [_template_dict(message, names, short_ids) for message in messages]


def _template_dict(message: Message, names: dict[str, str], short_ids: bool) -> dict[str, Any]:
    turn: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        turn["tool_calls"] = [
            {
                "id": _id(call.id, short_ids),
                "type": "function",
                "function": {"name": call.name, "arguments": _arguments(call)},
            }
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        turn["tool_call_id"] = _id(message.tool_call_id, short_ids)
    name = message.name or names.get(message.tool_call_id or "")
    if name:
        turn["name"] = name
    return turn


def _id(full: str, short: bool) -> str:
    return "".join(filter(str.isalnum, full))[-SHORT_ID:].rjust(SHORT_ID, "0") if short else full


def _names_by_id(messages: list[Message]) -> dict[str, str]:
    return {call.id: call.name for message in messages for call in message.tool_calls if call.id}


def _arguments(call: ToolCall) -> Any:
    """The arguments as an object; as their text when it is not JSON, or cannot be told as such."""
    try:
        found = json.loads(call.arguments or "{}", strict=False)
        json.dumps(found, ensure_ascii=False).encode()  # half a surrogate pair is in no prompt
    except (ValueError, RecursionError):
        return call.arguments
    return found


def _in_words(message: Message, names: dict[str, str]) -> Message:
    if message.role == "tool":
        name = message.name or names.get(message.tool_call_id or "")
        of = f" of {name}" if name else ""
        return Message("user", f"The result{of}:\n<tool_response>\n{message.content}\n</tool_response>")
    if not message.tool_calls:
        return message
    calls = [_call_in_words(call) for call in message.tool_calls]
    return Message(message.role, "\n".join([message.content, *calls] if message.content else calls))


def _call_in_words(call: ToolCall) -> str:
    told = json.dumps({"name": call.name, "arguments": _arguments(call)}, ensure_ascii=False)
    return f"<tool_call>\n{told}\n</tool_call>"
