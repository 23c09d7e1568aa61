"""Text that arrives in pieces, read as if it were all there: a reader that needs more of it yields, and goes on.

Knows no syntax. What a reader takes can be given back up to the last ``settle``.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")
# A reader: yields whenever it needs more text, and returns what it has read.
Reading = Generator[None, None, T]


class Arriving:
    """Unread text, and what has been read of it since ``settle``."""

    def __init__(self) -> None:
        self._text = ""
        self._at = 0
        self.ended = False

    def add(self, text: str) -> None:
        self._text += text

    @property
    def unread(self) -> str:
        """What is there already."""
        return self._text[self._at :]

    def take(self, n: int) -> str:
        """Reads ``n`` characters that are there."""
        taken = self._text[self._at : self._at + n]
        self._at += n
        return taken

    def give_back_some(self, n: int) -> None:
        """The last ``n`` characters that have been read are unread again."""
        self._at -= n

    def settle(self) -> None:
        """What has been read stays read."""
        self._text, self._at = self.unread, 0

    def give_back(self) -> None:
        """What has been read since ``settle`` is unread again."""
        self._at = 0

    @property
    def taken(self) -> str:
        """What has been read since ``settle``."""
        return self._text[: self._at]

    def more(self) -> Reading[bool]:
        """Waits for text beyond what is there; False: none comes."""
        before = len(self._text)
        while len(self._text) == before and not self.ended:
            yield
        return len(self._text) > before

    def peek(self) -> Reading[str]:
        """The next character, unread; empty at the end."""
        if self._at == len(self._text):
            yield from self.more()
        return self._text[self._at : self._at + 1]

    def skip_space(self) -> Reading[str]:
        """Reads whitespace, and peeks at what comes behind it."""
        while (next_one := (yield from self.peek())).isspace():
            self.take(1)
        return next_one

    def accepts(self, literal: str) -> Reading[bool]:
        """Reads ``literal`` if it is next; waits only as long as it still may be."""
        while literal.startswith(self.unread[: len(literal)]):
            if len(self.unread) >= len(literal):
                self.take(len(literal))
                return True
            if not (yield from self.more()):
                break
        return False
