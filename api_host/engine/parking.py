"""Prefixes that no slot holds any more, kept in host memory within a budget: a chat that comes back costs a copy
instead of a prefill.

Knows bytes and tokens, nothing of what the bytes are.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass

from api_host.engine.backend import Adapters, State
from api_host.engine.prefixes import common_prefix


@dataclass
class Parked:
    """The cells of ``tokens``, made with ``adapters``, as ``state``."""

    tokens: array[int]
    adapters: Adapters
    state: State


class Parking:
    """Parked prefixes; the longest unused goes first when the budget is spent.

    Args:
        budget: bytes of all states together; 0 parks nothing.
    """

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._parked: list[Parked] = []  # the longest unused first

    @property
    def n_bytes(self) -> int:
        return sum(len(parked.state) for parked in self._parked)

    def park(self, tokens: array[int], adapters: Adapters, size: int, save: Callable[[], State]) -> bool:
        """Keeps a prefix; those that it contains are no longer needed.

        Args:
            size: bytes of its state; above the budget it is not kept.
            save: makes the state.
        """
        if size > self._budget:
            return False
        self._parked = [
            parked
            for parked in self._parked
            if parked.adapters != adapters or common_prefix(parked.tokens, tokens) < len(parked.tokens)
        ]
        while self._parked and self.n_bytes + size > self._budget:
            del self._parked[0]
        self._parked.append(Parked(tokens[:], adapters, save()))
        return True

    def best(self, usable: Callable[[array[int], Adapters], int]) -> tuple[Parked | None, int]:
        """The prefix of which ``usable`` says the most, and how much that is."""
        best, most = None, 0
        for parked in self._parked:
            length = usable(parked.tokens, parked.adapters)
            if length > most:
                best, most = parked, length
        return best, most

    def take(self, parked: Parked) -> State:
        """The state of a prefix, which leaves: a slot holds it from now on."""
        self._parked.remove(parked)
        return parked.state
