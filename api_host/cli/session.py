"""A conversation: the turns so far, how the next is asked, and a file that keeps both.

Knows a client; nothing of terminals, options or exit codes.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from api_host.generation import SamplingParams
from api_host_client import Answer, Client, Waiting

Show = Callable[[str], Any]
OnWaiting = Callable[[Waiting], None]


class NoConversation(Exception):
    """A file holds no conversation; the text says why."""


class Session:
    """The turns so far, and the next one.

    Args:
        client: answers, with its own model or the host's default.
        parameters: sampling parameters for every request, by the API's names.
    """

    def __init__(self, client: Client, parameters: dict[str, Any]) -> None:
        self.client = client
        self.parameters = parameters
        self.system: str | None = None
        self.turns: list[dict[str, str]] = []
        self.last_question: str | None = None
        self._is_answered = False

    def reset(self) -> None:
        """Forgets the turns; the system prompt stays."""
        self.turns = []
        self.last_question, self._is_answered = None, False

    def set_system(self, text: str) -> None:
        """Sets the system prompt (an empty one removes it) and starts anew."""
        self.system = text or None
        self.reset()

    def ask(self, text: str, show: Show, on_waiting: OnWaiting | None = None) -> Answer:
        """Asks, and hands the answer to ``show`` piece by piece.

        A turn that fails is not remembered. One that is interrupted is, with as much of the answer as has come.
        Raises ClientError; KeyboardInterrupt, after the host was told to stop.
        """
        self.last_question, self._is_answered = text, False
        turns = [*self.turns, {"role": "user", "content": text}]
        stream = self.client.stream_chat(turns, system=self.system, on_waiting=on_waiting, **self.parameters)
        with stream:
            try:
                for chunk in stream:
                    show(chunk.text)
            except KeyboardInterrupt:
                if stream.text:
                    self._remember([*turns, {"role": "assistant", "content": stream.text}])
                raise
        answer = stream.answer()
        self._remember([*turns, answer.message])
        return answer

    def _remember(self, turns: list[dict[str, str]]) -> None:
        self.turns, self._is_answered = turns, True

    def take_back(self) -> str | None:
        """Forgets the last question with its answer; returns the question, None when there was none."""
        if self._is_answered:
            self.turns, self._is_answered = self.turns[:-2], False
        return self.last_question

    def save(self, path: Path) -> None:
        """Writes the conversation: Markdown for a ``.md``, else JSON that ``load`` reads. Raises OSError."""
        text = self._as_markdown() if path.suffix.lower() == ".md" else self._as_json()
        path.write_text(text, encoding="utf-8")

    def load(self, path: Path) -> None:
        """Goes on with a conversation that ``save`` wrote, or with a JSON list of turns. The model stays.

        Raises:
            OSError: the file cannot be read. NoConversation: it holds something else.
        """
        turns, system, parameters = _read(path)
        if turns and turns[0]["role"] == "system":
            system, turns = turns[0]["content"], turns[1:]
        expected = ["user", "assistant"] * (len(turns) // 2)
        if [turn["role"] for turn in turns] != expected:
            raise NoConversation("the turns must be a user's and an assistant's, one after the other")
        self.turns, self.system = turns, system
        self.parameters = parameters
        self._is_answered = bool(turns)
        self.last_question = turns[-2]["content"] if turns else None

    def _as_json(self) -> str:
        kept = {
            "model": self.client.model,
            "system": self.system,
            "parameters": self.parameters,
            "messages": self.turns,
        }
        return json.dumps(kept, indent=2, ensure_ascii=False) + "\n"

    def _as_markdown(self) -> str:
        system = [f"**System**\n\n{self.system}\n"] if self.system else []
        return "\n".join(
            [*system, *(f"**{turn['role'].title()}**\n\n{turn['content']}\n" for turn in self.turns)]
        )


def _read(path: Path) -> tuple[list[dict[str, str]], str | None, dict[str, Any]]:
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        raise NoConversation(
            "it is no JSON; /save with another ending than .md writes what /load reads"
        ) from None
    if isinstance(kept, list):
        kept = {"messages": kept}
    turns = kept.get("messages") if isinstance(kept, dict) else None
    if not isinstance(turns, list) or not all(_is_turn(turn) for turn in turns):
        raise NoConversation('it has no "messages", a list of {"role": ..., "content": ...}')
    system, parameters = kept.get("system"), kept.get("parameters") or {}
    if not (system is None or _is_text(system)) or not isinstance(parameters, dict):
        raise NoConversation('"system" must be a text and "parameters" an object')
    _check_parameters(parameters)
    return [{"role": turn["role"], "content": turn["content"]} for turn in turns], system, parameters


def _is_turn(turn: Any) -> bool:
    return isinstance(turn, dict) and all(_is_text(turn.get(key)) for key in ("role", "content"))


def _is_text(value: Any) -> bool:
    """Whether it can be sent and written; JSON spells half a character, too, which cannot."""
    return isinstance(value, str) and not any("\ud800" <= character <= "\udfff" for character in value)


def _check_parameters(parameters: dict[str, Any]) -> None:
    try:
        TypeAdapter(SamplingParams).validate_python(parameters)
    except ValidationError as error:
        problem = error.errors()[0]
        raise NoConversation(f'"parameters": {problem["loc"][0]}: {problem["msg"]}') from None
