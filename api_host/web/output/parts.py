"""What a model's text falls into as it is read: text for the user, reasoning, and calls of tools.

Knows neither where the pieces come from nor how a dialect writes them.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass


@dataclass
class Text:
    """A piece of the answer itself."""

    text: str


@dataclass
class Reasoning:
    """A piece of what the model thinks before it answers."""

    text: str


@dataclass
class CallStarted:
    """The model calls function ``name``; ``index`` counts the calls of one answer from 0."""

    index: int
    id: str
    name: str


@dataclass
class CallArguments:
    """A piece of the arguments of call ``index``: JSON text as the model writes it, whitespace included.

    Only the line breaks within its strings, which JSON forbids, are escapes, and half a surrogate pair is U+FFFD's.
    """

    index: int
    text: str


Part = Text | Reasoning | CallStarted | CallArguments


class Parts:
    """The parts found so far and not yet taken; neighbours of one kind are joined."""

    def __init__(self) -> None:
        self._found: list[Part] = []
        self.n_calls = 0

    def text(self, text: str) -> None:
        last = self._found[-1] if self._found else None
        if isinstance(last, Text):
            last.text += text
        elif text:
            self._found.append(Text(text))

    def reasoning(self, text: str) -> None:
        last = self._found[-1] if self._found else None
        if isinstance(last, Reasoning):
            last.text += text
        elif text:
            self._found.append(Reasoning(text))

    def call(self, name: str) -> None:
        """A call starts; what ``arguments`` is given from here on is its own."""
        self._found.append(CallStarted(self.n_calls, f"call_{secrets.token_hex(12)}", name))
        self.n_calls += 1

    def arguments(self, text: str) -> None:
        last = self._found[-1] if self._found else None
        if isinstance(last, CallArguments):
            last.text += text
        elif text:
            self._found.append(CallArguments(self.n_calls - 1, text))

    def take(self) -> list[Part]:
        """All parts since the last time."""
        found, self._found = self._found, []
        return found
