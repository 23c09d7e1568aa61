"""Builds the JSON body of ``POST /api``. Sends nothing and checks no values: the host names what it refuses.

What is None is left out, so that every default stays the host's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from api_host_client.types import Answer

Turn: TypeAlias = Mapping[str, Any] | Answer
Chat: TypeAlias = str | Iterable[Turn]

OPTIONS = ("use_gpu", "ctx_length", "chat_format")


def as_chat(messages: Chat, system: str | None = None) -> list[dict[str, Any]]:
    """The turns of a chat: a text becomes the user's only one, an Answer the assistant's, ``system`` the first.

    Raises:
        ValueError: ``system`` beside a history that begins with a system turn.
    """
    if isinstance(messages, str):
        turns: list[dict[str, Any]] = [{"role": "user", "content": messages}]
    else:
        turns = [turn.message if isinstance(turn, Answer) else dict(turn) for turn in messages]
    if system is None:
        return turns
    if turns and turns[0].get("role") == "system":
        raise ValueError("system: the messages begin with a system turn already; give one of the two")
    return [{"role": "system", "content": system}, *turns]


def naming(
    model: str | None, repo_id: str | None, file_name: str | None, default: str | None
) -> dict[str, Any]:
    """The fields that name a model; none of them is the host's default model.

    Raises:
        ValueError: both spellings at once.
    """
    if model is not None and (repo_id is not None or file_name is not None):
        raise ValueError("model: give either model, or repo_id and file_name")
    if repo_id is None and file_name is None:
        return _without_none({"model": model if model is not None else default})
    return _without_none({"repo_id": repo_id, "file_name": file_name})


def generation(
    inputs: str | list[dict[str, Any]], named: dict[str, Any], settings: dict[str, Any], *, stream: bool
) -> dict[str, Any]:
    """The whole body: of the ``settings``, those in OPTIONS become ``options``, the rest ``parameters``."""
    given = _without_none(settings)
    if isinstance(given.get("stop"), str):
        given["stop"] = [given["stop"]]
    return {
        **named,
        "inputs": inputs,
        "parameters": {name: value for name, value in given.items() if name not in OPTIONS},
        "options": {name: value for name, value in given.items() if name in OPTIONS},
        "stream": stream,
    }


def _without_none(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
