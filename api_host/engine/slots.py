"""The slots: sequence ids of the KV cache with the tokens whose cells they hold, kept as prefixes for later.

A slot outlives its sequence. Decides which slot a prompt gets and where the longest common prefix lies; knows
nothing of batches, sampling or text.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

from api_host.engine.backend import Adapters, Backend
from api_host.engine.parking import Parked, Parking
from api_host.engine.prefixes import common_prefix
from api_host.engine.sequence import Sequence

# Below these numbers of tokens a prefill is cheaper than a copy, than waiting for another sequence's prefill, or than
# a copy from host memory.
MIN_COPIED = 16
MIN_AWAITED = 32
MIN_PARKED = 128


@dataclass
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
    """All slots of one backend.

    Args:
        backend: has the cells.
        parking: takes prefixes that lose their slot.
    """

    def __init__(self, backend: Backend, parking: Parking) -> None:
        self._backend = backend
        self._parking = parking
        self._all = [Slot(i) for i in range(backend.n_slots)]
        self._clock = 0

    def __getitem__(self, slot_id: int) -> Slot:
        return self._all[slot_id]

    @property
    def idle(self) -> list[Slot]:
        return [slot for slot in self._all if slot.sequence is None]

    @property
    def n_cells(self) -> int:
        return sum(len(slot.tokens) for slot in self._all)

    def place(self, sequence: Sequence) -> None:
        """Gives a sequence an idle slot, and the longest common prefix that any slot holds or is about to hold."""
        match = self._best_match(sequence)
        parked, n_parked = self._parking.best(lambda tokens, made: self._serves(tokens, made, sequence))
        if parked is not None and n_parked >= (match.length if match else 0) + MIN_PARKED:
            slot = self._least_valuable(self.idle)
            slot.sequence, sequence.slot = sequence, slot.id
            self._park(slot, 0)
            self._unpark(slot, parked, n_parked)
            sequence.n_computed = sequence.n_cached = len(slot.tokens)
            return
        slot = self._target(match)
        slot.sequence, sequence.slot = sequence, slot.id
        if match is not None and match.awaited:
            sequence.leader, sequence.n_shared = match.slot.sequence, match.length
            self._park(slot, 0)
            self.clear(slot)
            slot.adapters = sequence.request.adapters
        else:
            self._fill(slot, sequence, match)
        sequence.n_computed = sequence.n_cached = len(slot.tokens)

    def take_shared(self, sequence: Sequence) -> bool:
        """Ends the waiting for a leader: takes its cells once they are there, or what there is if it has gone."""
        leader = sequence.leader
        assert leader is not None and sequence.slot is not None
        if leader.slot is not None and leader.n_computed < sequence.n_shared:
            return False
        sequence.leader = None
        slot = self._all[sequence.slot]
        self._fill(slot, sequence, self._best_match(sequence, now=True))
        sequence.n_computed = sequence.n_cached = len(slot.tokens)
        return True

    def release(self, sequence: Sequence) -> None:
        """The sequence has ended; its cells stay as a prefix for later."""
        if sequence.slot is None:
            return
        slot = self._all[sequence.slot]
        self._clock += 1
        slot.sequence, slot.used, sequence.slot = None, self._clock, None

    def trim(self, slot: Slot, length: int) -> int:
        """Keeps the first ``length`` cells of a slot where the model can, else none; returns how many are left."""
        kept = self._backend.trim(slot.id, length)
        slot.tokens = slot.tokens[:kept]
        return kept

    def clear(self, slot: Slot) -> None:
        self._backend.clear(slot.id)
        slot.tokens = array("i")

    def _serves(self, tokens: array[int], adapters: Adapters, sequence: Sequence) -> int:
        """How many cells of ``tokens`` serve a sequence; one token is always left to be decoded for its logits."""
        if adapters != sequence.request.adapters:
            return 0
        prompt = sequence.tokens
        length = min(len(prompt) - 1, common_prefix(prompt, tokens))
        return length if self._backend.can_trim or length == len(tokens) else 0

    def _usable(self, slot: Slot, sequence: Sequence) -> int:
        return self._serves(slot.tokens, slot.adapters, sequence)

    def _park(self, slot: Slot, kept: int) -> None:
        """Keeps what a slot is about to lose, where most of it would be lost, and nobody else has it."""
        lost = len(slot.tokens) - kept
        if lost < MIN_PARKED or 2 * lost < len(slot.tokens) or self._n_own(slot) < MIN_PARKED:
            return
        size = self._backend.state_size(slot.id)
        self._parking.park(slot.tokens, slot.adapters, size, lambda: self._backend.save(slot.id))

    def _unpark(self, slot: Slot, parked: Parked, length: int) -> None:
        """Puts a parked prefix into a slot, down to ``length`` tokens."""
        self.clear(slot)
        slot.adapters = parked.adapters
        if self._backend.restore(slot.id, self._parking.take(parked)):
            slot.tokens = parked.tokens
            self.trim(slot, length)
        else:
            self.clear(slot)

    def _n_own(self, slot: Slot) -> int:
        """The tokens of a slot that no other slot begins with."""
        others = [
            common_prefix(slot.tokens, other.tokens)
            for other in self._all
            if other is not slot and other.adapters == slot.adapters
        ]
        return len(slot.tokens) - max(others, default=0)

    def _best_match(self, sequence: Sequence, now: bool = False) -> Match | None:
        """The longest prefix; cells that are there win over awaited ones that save little more."""
        prompt = sequence.tokens
        here = Match(self._all[0], 0)
        awaited = Match(self._all[0], 0, awaited=True)
        for slot in self._all:
            if slot.sequence is sequence:
                continue
            here = max(here, Match(slot, self._usable(slot, sequence)), key=lambda match: match.length)
            running = slot.sequence
            if running is not None and self._backend.can_trim and not now:
                if running.request.adapters != sequence.request.adapters:
                    continue
                length = min(len(prompt) - 1, common_prefix(prompt, running.tokens))
                awaited = max(awaited, Match(slot, length, awaited=True), key=lambda match: match.length)
        if awaited.length >= here.length + MIN_AWAITED:
            return awaited
        return here if here.length else None

    def _target(self, match: Match | None) -> Slot:
        """The idle slot to use: the match's own when little of it is lost, else the least valuable."""
        idle = self.idle
        if match is None or match.slot.sequence is not None:
            return self._least_valuable(idle)
        lost = len(match.slot.tokens) - match.length
        if lost <= match.length or idle == [match.slot]:
            return match.slot
        return self._least_valuable([slot for slot in idle if slot is not match.slot])

    def _least_valuable(self, idle: list[Slot]) -> Slot:
        """An empty slot, the lowest first (neighbours share one pass over the weights), or the one worth least.

        A slot is worth the tokens that no other has, half as much for each time that all slots were used since.
        """

        def value(slot: Slot) -> tuple[float, int, int]:
            age = (self._clock - slot.used) / len(self._all)
            return self._n_own(slot) * 2.0**-age, slot.used, slot.id

        return min(idle, key=lambda slot: (bool(slot.tokens), value(slot)))

    def _fill(self, slot: Slot, sequence: Sequence, match: Match | None) -> None:
        """Leaves in ``slot`` a prefix of the prompt: the match's cells by copy, or what it holds itself."""
        prompt = sequence.tokens
        own = self._usable(slot, sequence)
        self._park(slot, own)
        slot.adapters = sequence.request.adapters
        if match and match.slot is not slot and match.length >= own + MIN_COPIED:
            kept = self._backend.copy(match.slot.id, slot.id, match.length)
            slot.tokens = prompt[:kept]
        elif own:
            kept = self._backend.trim(slot.id, own)
            slot.tokens = prompt[:kept]
        elif slot.tokens:
            self.clear(slot)
