"""Guesses at what comes next in a text: what a source of them is, how long they should be, and several sources as one.

The sampler judges each guess, so the text is the same with guesses and without. Knows nothing of where guesses come
from, nor of batches.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import Protocol

from api_host.engine.sequence import Sequence

LONGEST_PAUSE = 64


class Guesser(Protocol):
    """A source of guesses: ``guess`` before a step, ``judged`` after it, ``forget`` at the end of a sequence."""

    def guess(self, sequences: list[Sequence]) -> dict[Sequence, array[int]]:
        """What may follow each text, at most what it may grow by before its last token; nothing where none is known."""
        ...

    def judged(self, sequence: Sequence, n_guessed: int, n_right: int) -> None:
        """The first ``n_right`` tokens of the last guess came true."""
        ...

    def forget(self, sequence: Sequence) -> None:
        """The sequence has ended; unknown ones are ignored."""
        ...


class GuessLength:
    """The length of one text's guesses, at most ``most``: it grows with right ones, wrong ones cost a pause."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._length = min(2, most)
        self._pause = 1
        self._wait = 0

    def next(self) -> int:
        """The length of this step's guess; 0 while guessing does not pay."""
        if self._wait:
            self._wait -= 1
            return 0
        return self._length

    def judged(self, n_guessed: int, n_right: int) -> None:
        """Longer guesses after a right one, a pause that doubles after a wrong one."""
        if n_right == n_guessed:
            self._length = min(self._most, 2 * self._length)
            self._pause = 1
        elif 2 * n_right < n_guessed:
            self._length = min(2, self._most)
            self._wait = self._pause
            self._pause = min(LONGEST_PAUSE, 2 * self._pause)


class FirstOf:
    """Several sources as one: each text gets the guess of the first that has one."""

    def __init__(self, sources: Iterable[Guesser]) -> None:
        self._sources = list(sources)
        self._asked: dict[Sequence, Guesser] = {}

    def guess(self, sequences: list[Sequence]) -> dict[Sequence, array[int]]:
        found: dict[Sequence, array[int]] = {}
        for source in self._sources:
            without = [sequence for sequence in sequences if sequence not in found]
            guesses = source.guess(without) if without else {}
            self._asked.update(dict.fromkeys(guesses, source))
            found |= guesses
        return found

    def judged(self, sequence: Sequence, n_guessed: int, n_right: int) -> None:
        self._asked[sequence].judged(sequence, n_guessed, n_right)

    def forget(self, sequence: Sequence) -> None:
        self._asked.pop(sequence, None)
        for source in self._sources:
            source.forget(sequence)
