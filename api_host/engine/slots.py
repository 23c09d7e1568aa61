"""The slots: sequence ids of the KV cache with the tokens whose cells they hold, kept as prefixes for later.

A slot outlives its sequence. Decides which slot a prompt gets and where the longest common prefix lies; knows
nothing of batches, sampling or text.
"""

from __future__ import annotations

from array import array
from bisect import insort
from collections.abc import Callable
from dataclasses import dataclass, field

from api_host.engine.backend import Adapters, Backend
from api_host.engine.parking import Parked, Parking
from api_host.engine.prefixes import Prefixes
from api_host.engine.sequence import Sequence

# Below these numbers of tokens a prefill is cheaper than waiting for another sequence's prefill, or than a copy from
# host memory.
MIN_AWAITED = 32
MIN_PARKED = 128

# On a CPU a gap in the row of running slots costs one more pass over the weights for every token of an answer, which
# takes as long as reading so many tokens of a prompt does. No more than MIN_KEPT are given up for a row without one.
PER_PASS = 4
MIN_KEPT = 64

# Of as many lost tokens one counts where a prompt may be the new form of the text that it shortens.
NEW_FORM = 4


@dataclass(eq=False)
class Slot:
    """``tokens`` are those whose cells it holds, made with ``adapters``; ``sequence`` is who runs in it.

    ``used`` orders slots in time.
    """

    id: int
    tokens: array[int] = field(default_factory=lambda: array("i"))
    adapters: Adapters = ()
    sequence: Sequence | None = None
    used: int = 0


@dataclass
class Match:
    """The first ``length`` tokens of a prompt are in ``slot``, or will be once it is read (``awaited``)."""

    slot: Slot
    length: int
    awaited: bool = False


class Slots:
    """All slots of one backend; ``idle`` are those in which nobody runs, by their ids.

    Args:
        backend: has the cells.
        parking: takes prefixes that lose their slot.
        reading: the seconds that it takes to read so many tokens, as far as that is known.
    """

    def __init__(
        self,
        backend: Backend,
        parking: Parking,
        reading: Callable[[int], float | None] = lambda n_tokens: None,
    ) -> None:
        self._backend = backend
        self._parking = parking
        self._reading = reading
        self._all = [Slot(i) for i in range(backend.n_slots)]
        self.idle = list(self._all)
        # The cells of idle slots and the prompts of running ones. What these generate counts from their end on, so
        # that a decoded token costs nothing here.
        self._prefixes = Prefixes()
        self._clock = 0

    def __getitem__(self, slot_id: int) -> Slot:
        return self._all[slot_id]

    @property
    def read_together(self) -> bool:
        """Whether the ends of prompts behind one prefix are read faster together."""
        return self._backend.reads_together

    @property
    def attend_in_tiles(self) -> bool:
        """Whether many tokens of a slot are attended to sooner, for each, than few."""
        return self._backend.attends_in_tiles

    @property
    def n_cells(self) -> int:
        return sum(len(slot.tokens) for slot in self._all)

    def place(self, sequence: Sequence) -> bool:
        """Gives a sequence an idle slot, and the longest common prefix that any slot holds or is about to hold.

        Returns:
            Whether it has a slot; else it has to wait for the next decode.
        """
        common = self._common(sequence)
        match = self._best_match(common)
        length = match.length if match else 0
        parked = self._best_parked(sequence, length + MIN_PARKED)
        if parked and self._backend.copying:
            return False
        self._parking.came(sequence.tokens, sequence.request.adapters)
        leader = match.slot.sequence if match and match.awaited and not parked else None
        # Cells that come from elsewhere as a whole leave none of a slot's own.
        slot = self._target({} if parked or leader else common, length, sequence.n_left)
        slot.sequence, sequence.slot = sequence, slot.id
        self.idle.remove(slot)
        if parked:
            self._unpark(slot, *parked)
        elif leader:
            sequence.leader, sequence.n_shared = leader, length
            self._park(slot, 0)
            self.clear(slot)
        else:
            self._fill(slot, sequence, match, common)
        slot.adapters = sequence.request.adapters
        sequence.n_computed = sequence.n_cached = len(slot.tokens)
        self._prefixes.put(slot.id, sequence.tokens, slot.adapters)
        return True

    def take_shared(self, sequence: Sequence) -> bool:
        """Ends the waiting for a leader: takes its cells once they are there, or what there is if it has gone."""
        leader = sequence.leader
        assert leader is not None and sequence.slot is not None
        if leader.slot is not None and leader.n_computed < sequence.n_shared:
            return False
        sequence.leader = None
        slot = self._all[sequence.slot]
        common = self._common(sequence)
        self._fill(slot, sequence, self._best_match(common, now=True), common)
        sequence.n_computed = sequence.n_cached = len(slot.tokens)
        return True

    def release(self, sequence: Sequence) -> None:
        """The sequence has ended; its cells stay as a prefix for later."""
        if sequence.slot is None:
            return
        slot = self._all[sequence.slot]
        self._clock += 1
        slot.sequence, slot.used, sequence.slot = None, self._clock, None
        insort(self.idle, slot, key=lambda slot: slot.id)
        self._prefixes.put(slot.id, slot.tokens, slot.adapters)

    def trim(self, slot: Slot, length: int) -> int:
        """Keeps the first ``length`` cells of a slot where the model can, else none; returns how many are left."""
        kept = self._backend.trim(slot.id, length)
        slot.tokens = slot.tokens[:kept]
        if slot.sequence is None:
            self._prefixes.put(slot.id, slot.tokens, slot.adapters)
        return kept

    def clear(self, slot: Slot) -> None:
        self._backend.clear(slot.id)
        slot.tokens = array("i")

    def _common(self, sequence: Sequence) -> dict[int, int]:
        """What other slots have in common with a prompt, by their ids, the most first.

        One token is always left to be decoded for its logits.
        """
        common = dict(self._prefixes.nearest(sequence.tokens[:-1], sequence.request.adapters))
        if sequence.slot is not None:
            common.pop(sequence.slot, None)
        return common

    def _usable(self, slot: Slot, length: int) -> int:
        """How many of a slot's cells serve a prompt with which it has ``length`` tokens in common."""
        there = min(length, len(slot.tokens))
        return there if self._backend.can_trim or there == len(slot.tokens) else 0

    def _best_match(self, common: dict[int, int], now: bool = False) -> Match | None:
        """The longest prefix; cells that are there win over awaited ones that save little more."""
        here, awaited = None, None
        for slot_id, length in common.items():
            if here is not None and length <= here.length:
                break
            slot = self._all[slot_id]
            usable = self._usable(slot, length)
            if usable > (here.length if here else 0):
                here = Match(slot, usable)
            if slot.sequence is not None and awaited is None and self._backend.can_trim and not now:
                awaited = Match(slot, length, awaited=True)
        if awaited and awaited.length >= (here.length if here else 0) + MIN_AWAITED:
            return awaited
        return here

    def _best_parked(self, sequence: Sequence, least: int) -> tuple[Parked, int] | None:
        """The parked prefix that serves a sequence most, where that is at least ``least`` tokens."""
        if len(sequence.tokens) <= least:
            return None
        whole = not self._backend.can_trim
        parked, length = self._parking.best(sequence.tokens[:-1], sequence.request.adapters, whole)
        return (parked, length) if parked is not None and length >= least else None

    def _target(self, common: dict[int, int], length: int, n_left: int) -> Slot:
        """The idle slot to use: the one by which the fewest tokens are lost, or have to be read or copied again.

        What is lost counts half as much for each time that all slots were used since, but for where it is little: that
        is all the same, however old. Beside running ones as much is given up as a row without a gap is worth, and the
        first that closes it counts.
        """
        if len(self.idle) == 1:
            return self.idle[0]
        first = next((slot.id for slot in self._all if slot.sequence is not None), 0)
        row = self.idle[first:] + self.idle[:first][::-1]
        worth = min(MIN_KEPT, PER_PASS * n_left) if len(row) < len(self._all) else 0
        costs: list[int] = []
        aged: list[float] = []
        for slot in row:
            kept = self._usable(slot, common.get(slot.id, 0))
            lost, again = self._lost(slot, kept), min(self._backend.min_copied, length - kept)
            costs.append(lost + again)
            aged.append(lost * 2.0 ** ((slot.used - self._clock) / len(self._all)) + again)
        little = max(worth, min(self._backend.min_copied, min(costs)))
        most = min(aged) + worth
        fits = [cost <= little for cost in costs] if min(costs) <= little else [cost <= most for cost in aged]
        return row[fits.index(True)]

    def _lost(self, slot: Slot, kept: int) -> int:
        """How many tokens that no other slot has are lost beyond those kept.

        They count little when the prompt goes on from the most of a text that only this slot has. It may be the text's
        new form, and what is lost no use to anybody; or another chat with the same instructions.
        """
        beyond, own = len(slot.tokens) - kept, self._prefixes.n_own(slot.id)
        return beyond // NEW_FORM if beyond <= kept and beyond < own else min(beyond, own)

    def _park(self, slot: Slot, kept: int) -> None:
        """Keeps what a slot is about to lose, where most of it would be lost, and nobody else has it."""
        lost = len(slot.tokens) - kept
        if lost < MIN_PARKED or 2 * lost < len(slot.tokens) or self._prefixes.n_own(slot.id) < MIN_PARKED:
            return
        size, worth = self._backend.state_size(slot.id), self._reading(len(slot.tokens))
        self._parking.park(slot.tokens, slot.adapters, size, lambda: self._backend.save(slot.id), worth)

    def _unpark(self, slot: Slot, parked: Parked, length: int) -> None:
        """Puts a parked prefix into a slot, down to ``length`` tokens, before the slot's own could push it out."""
        state = self._parking.take(parked)
        self._park(slot, 0)
        self.clear(slot)
        if self._backend.restore(slot.id, state):
            slot.tokens = parked.tokens
            self.trim(slot, length)
        else:
            self.clear(slot)

    def _fill(self, slot: Slot, sequence: Sequence, match: Match | None, common: dict[int, int]) -> None:
        """Leaves in ``slot`` a prefix of the prompt: the match's cells by copy, or what it holds itself."""
        own = self._usable(slot, common.get(slot.id, 0))
        self._park(slot, own)
        if match and match.slot is not slot and match.length >= own + self._backend.min_copied:
            kept = self._backend.copy(match.slot.id, slot.id, match.length)
            slot.tokens = sequence.tokens[:kept]
        elif own:
            self.trim(slot, own)
        elif slot.tokens:
            self.clear(slot)
