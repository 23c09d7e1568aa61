"""Builds the JSON body of ``POST /api``. Sends nothing, and refuses only what is no JSON: the host judges the rest.

What is None is left out, so that every default stays the host's.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from api_host_client.errors import BadArgument
from api_host_client.types import Answer

Turn: TypeAlias = Mapping[str, Any] | Answer
Chat: TypeAlias = str | Iterable[Turn]

OPTIONS = ("use_gpu", "ctx_length", "chat_format")
_SHOWN_CHARACTERS = 60


def as_chat(messages: Chat, system: str | None = None) -> list[dict[str, Any]]:
    """The turns of a chat: a text becomes the user's only one, an Answer the assistant's, ``system`` the first.

    Raises:
        BadArgument: no chat; ``system`` beside a history that begins with a system turn.
    """
    if isinstance(messages, str):
        turns: list[dict[str, Any]] = [{"role": "user", "content": _whole(messages, "messages")}]
    elif _is_list(messages):
        turns = [_turn(turn, f"messages.{i}") for i, turn in enumerate(messages)]
    else:
        raise BadArgument(
            f"messages: {_shown(messages)} is no chat; allowed: a text, or turns of role and content"
        )
    if system is None:
        return turns
    if turns and turns[0].get("role") == "system":
        raise BadArgument("system: the messages begin with a system turn already; give one of the two")
    return [{"role": "system", "content": as_text(system, "system")}, *turns]


def _turn(turn: Turn, where: str) -> dict[str, Any]:
    if isinstance(turn, Answer):
        return dict(turn.message)
    if not isinstance(turn, Mapping):
        raise BadArgument(f"{where}: {_shown(turn)} is no turn; allowed: role and content, or an Answer")
    return dict(as_json(turn, where))


def as_text(text: str, where: str, allowed: str = "a text") -> str:
    """The text itself. Raises BadArgument, in the name of ``where``, for anything else."""
    if not isinstance(text, str):
        raise BadArgument(f"{where}: {_shown(text)} is no text; allowed: {allowed}")
    return _whole(text, where)


def as_texts(text: str | Iterable[str]) -> str | list[str]:
    """A text, or a list of them. Raises BadArgument."""
    if not _is_list(text):
        return as_text(text, "text", "a text, or a list of texts")  # type: ignore[arg-type]
    return [as_text(each, f"text.{i}") for i, each in enumerate(text)]


def naming(
    model: str | None, repo_id: str | None, file_name: str | None, default: str | None
) -> dict[str, Any]:
    """The fields that name a model; none of them is the host's default model.

    Raises:
        BadArgument: both spellings at once.
    """
    if model is not None and (repo_id is not None or file_name is not None):
        raise BadArgument("model: give either model, or repo_id and file_name")
    if repo_id is None and file_name is None:
        return given({"model": model if model is not None else default})
    return given({"repo_id": repo_id, "file_name": file_name})


def generation(
    inputs: str | list[dict[str, Any]], named: dict[str, Any], settings: dict[str, Any], *, stream: bool
) -> dict[str, Any]:
    """The whole body: of the ``settings``, those in OPTIONS become ``options``, the rest ``parameters``.

    Raises:
        BadArgument: one of the settings is no JSON.
    """
    wanted = given(settings)
    if isinstance(wanted.get("stop"), str):
        wanted["stop"] = [wanted["stop"]]
    return {
        **named,
        "inputs": inputs,
        "parameters": {name: value for name, value in wanted.items() if name not in OPTIONS},
        "options": {name: value for name, value in wanted.items() if name in OPTIONS},
        "stream": stream,
    }


def given(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields that are not None, as JSON. Raises BadArgument."""
    return {name: as_json(value, name) for name, value in fields.items() if value is not None}


def as_json(value: Any, where: str) -> Any:
    """The value in JSON's types: scalars of numpy and its like become Python's, tuples lists.

    Raises:
        BadArgument: it is none of JSON's, such as the NaN of a table's gap; ``where`` names it.
    """
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        value = value.item()
    if isinstance(value, str):
        return _whole(value, where)
    if value is None or isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, Mapping):
        return {_key(name, where): as_json(inner, f"{where}.{name}") for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(inner, f"{where}.{i}") for i, inner in enumerate(value)]
    raise BadArgument(
        f"{where}: {_shown(value)} cannot be sent; allowed: a text, a finite number, true or false, "
        "a list or a dictionary of these"
    )


def _key(name: Any, where: str) -> str:
    if isinstance(name, str) or hasattr(name, "__index__"):
        return _whole(str(name), where)
    raise BadArgument(f"{where}: {_shown(name)} is no key; allowed: a text or a whole number")


def _whole(text: str, where: str) -> str:
    """The text itself. Raises BadArgument for one that JSON cannot carry: with half a character in it."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadArgument(
            f"{where}: {text[error.start]!r} at character {error.start} is half a character, of a file read with "
            'another encoding than its own or of a text cut in two; allowed: text.encode("utf-8", "replace").decode()'
        ) from None
    return text


def _is_list(value: Any) -> bool:
    """Whether it gives one thing after another, rather than being one."""
    return isinstance(value, Iterable) and not isinstance(value, str | bytes | bytearray | Mapping)


def _shown(value: Any) -> str:
    """A value short enough for a sentence."""
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 3] + "..."
