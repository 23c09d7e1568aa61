"""How often a prefix that has lost its slot is wanted again: chats come back, the rows of a table do not.

Remembers tokens, whether or not anybody has their cells.
"""

from __future__ import annotations

from array import array
from itertools import count

from api_host.engine.backend import Adapters
from api_host.engine.prefixes import Prefixes

# Tokens of all that are remembered; the longest lost go first.
REMEMBERED = 1 << 20
# Of about so many prefixes that were lost last it is counted how many came back.
WINDOW = 64


class Returning:
    """``chance`` is the share of lost prefixes that come back; the first is taken for one that will."""

    def __init__(self) -> None:
        self._prefixes = Prefixes()
        self._lengths: dict[int, int] = {}  # the longest lost first
        self._numbers = count()
        self._n_tokens = 0
        self._n_lost = self._n_back = 0.0

    @property
    def chance(self) -> float:
        return min(1.0, (self._n_back + 1) / (self._n_lost + 1))

    def lost(self, tokens: array[int], adapters: Adapters) -> None:
        """These have lost their slot."""
        if self._n_lost >= WINDOW:
            self._n_lost, self._n_back = self._n_lost / 2, self._n_back / 2
        self._n_lost += 1
        number = next(self._numbers)
        self._prefixes.put(number, tokens, adapters)
        self._lengths[number] = len(tokens)
        self._n_tokens += len(tokens)
        while self._n_tokens > REMEMBERED:
            self._forget(next(iter(self._lengths)))

    def came(self, tokens: array[int], adapters: Adapters) -> None:
        """A prompt: one that begins like most of a lost prefix is its return."""
        number, length = next(self._prefixes.nearest(tokens, adapters), (-1, 0))
        if length and 2 * length >= self._lengths[number]:
            self._n_back += 1
            self._forget(number)

    def _forget(self, number: int) -> None:
        self._prefixes.drop(number)
        self._n_tokens -= self._lengths.pop(number)
