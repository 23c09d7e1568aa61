"""Prefixes that no slot holds any more, kept in host memory within a budget: a chat that comes back costs a copy
instead of a prefill.

Knows bytes and tokens, nothing of what the bytes are.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

from api_host.engine.backend import Adapters, State
from api_host.engine.prefixes import Prefixes
from api_host.engine.returning import Returning


@dataclass(eq=False)
class Parked:
    """The cells of ``tokens``, made with ``adapters``, as ``state``; ``number`` is its name among the parked."""

    number: int
    tokens: array[int]
    adapters: Adapters
    state: State


class Parking:
    """Parked prefixes; the longest unused goes first when the budget is spent.

    Args:
        budget: bytes of all states together; 0 parks nothing.
        clock: seconds; monotonic.
    """

    def __init__(self, budget: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._budget = budget
        self._clock = clock
        self._seconds_per_byte: float | None = None
        self._parked: dict[int, Parked] = {}  # the longest unused first
        self._prefixes = Prefixes()
        self._numbers = count()
        self._returning = Returning()
        self.n_bytes = 0

    def came(self, tokens: array[int], adapters: Adapters) -> None:
        """A prompt has come, and with it perhaps a prefix that was lost."""
        self._returning.came(tokens, adapters)

    def park(
        self,
        tokens: array[int],
        adapters: Adapters,
        size: int,
        save: Callable[[], State],
        worth: float | None = None,
    ) -> bool:
        """Keeps a prefix; those that it contains are no longer needed.

        Args:
            size: bytes of its state; above the budget it is not kept.
            save: makes the state.
            worth: seconds that it takes to read the prefix anew, if that is known.
        """
        if size > self._budget:
            return False
        pays = self._pays(size, worth)
        self._returning.lost(tokens, adapters)
        if not pays:
            return False
        alike = [
            (self._parked[number], length) for number, length in self._prefixes.nearest(tokens, adapters)
        ]
        for parked, length in alike:
            if length == len(parked.tokens):
                self.take(parked)
        while self._parked and self.n_bytes + size > self._budget:
            self.take(next(iter(self._parked.values())))
        started = self._clock()
        parked = Parked(next(self._numbers), tokens[:], adapters, save())
        self._seconds_per_byte = (self._clock() - started) / max(1, size)
        self._parked[parked.number] = parked
        self._prefixes.put(parked.number, tokens, adapters)
        self.n_bytes += len(parked.state)
        return True

    def _pays(self, size: int, worth: float | None) -> bool:
        """Whether a copy out is worth the chance of one in instead of a prefill; the first one shows its speed.

        A fast GPU reads a short prompt nearly as soon as it copies it.
        """
        if worth is None or self._seconds_per_byte is None:
            return True
        copy = size * self._seconds_per_byte
        return copy < self._returning.chance * (worth - copy)

    def best(self, tokens: array[int], adapters: Adapters, whole: bool = False) -> tuple[Parked | None, int]:
        """The prefix that has the most in common with ``tokens``, and how much; ``whole``: all of it, or none."""
        for number, length in self._prefixes.nearest(tokens, adapters):
            parked = self._parked[number]
            if not whole or length == len(parked.tokens):
                return parked, length
        return None, 0

    def take(self, parked: Parked) -> State:
        """The state of a prefix, which leaves: a slot holds it from now on."""
        del self._parked[parked.number]
        self._prefixes.drop(parked.number)
        self.n_bytes -= len(parked.state)
        return parked.state
