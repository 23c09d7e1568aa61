"""Tokens that must not come next, by rules that look at the text so far.

Knows nothing of llama.cpp: tokens in, sets of tokens out. The rules are the transformers library's:
NoRepeatNGramLogitsProcessor, NoBadWordsLogitsProcessor and MinNewTokensLengthLogitsProcessor. But where the second one
passes over a row that is only the end of the text, it is banned here as any other.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from typing import Protocol


class Ban(Protocol):
    """One rule, for one text."""

    @property
    def banned(self) -> set[int]: ...

    def accept(self, token: int) -> None:
        """The text goes on with ``token``."""


class NoRepeatNgrams:
    """No n tokens in a row stand twice in a text, its prompt included.

    What may not follow is kept by a hash of the tokens before it: 64 bits, which no two of a text will share, as
    small for the longest n-gram as for the shortest.

    Args:
        size: n; at least 1.
        tokens: the prompt.
    """

    def __init__(self, size: int, tokens: array[int]) -> None:
        self._size = size
        self._tokens = array("i")
        self._following: dict[int, set[int]] = {}
        for token in tokens:
            self.accept(token)

    def accept(self, token: int) -> None:
        if len(self._tokens) >= self._size - 1:
            self._following.setdefault(self._last(), set()).add(token)
        self._tokens.append(token)

    @property
    def banned(self) -> set[int]:
        """The tokens that would complete an n-gram that stands in the text already."""
        return self._following.get(self._last(), set()) if len(self._tokens) >= self._size - 1 else set()

    def _last(self) -> int:
        return hash(self._tokens[len(self._tokens) - self._size + 1 :].tobytes())


class NoBadWords:
    """No row of tokens of ``words`` is ever completed; what stands before it in ``tokens``, the prompt, counts."""

    def __init__(self, words: Iterable[Sequence[int]], tokens: array[int]) -> None:
        self._words = [(tuple(word[:-1]), word[-1]) for word in words]
        self._longest = max(len(beginning) for beginning, _ in self._words)
        self._last = tokens[len(tokens) - min(self._longest, len(tokens)) :].tolist()

    def accept(self, token: int) -> None:
        self._last = [*self._last, token][-self._longest :] if self._longest else []

    @property
    def banned(self) -> set[int]:
        last = self._last
        return {
            end
            for beginning, end in self._words
            if not beginning or tuple(last[-len(beginning) :]) == beginning
        }


class MinTokens:
    """The model cannot end its text before ``count`` tokens of it; ``ends`` are the tokens that would."""

    def __init__(self, count: int, ends: Iterable[int]) -> None:
        self._left = count
        self._ends = set(ends)

    def accept(self, token: int) -> None:
        self._left -= 1

    @property
    def banned(self) -> set[int]:
        return self._ends if self._left > 0 else set()
