"""The slots: sequence ids of the KV cache with the tokens whose cells they hold, kept as prefixes for later.

A slot outlives its sequence. Decides which slot a prompt gets and where the longest common prefix lies; knows
nothing of batches, sampling or text.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

from api_host.engine.backend import Adapters, Backend
from api_host.engine.sequence import Sequence

# Below these numbers of tokens a prefill is cheaper than a copy, or than waiting for another sequence's prefill.
MIN_COPIED = 16
MIN_AWAITED = 32


def common_prefix(a: array[int], b: array[int]) -> int:
    """The number of tokens with which both begin; compares halves as bytes, so thousands cost microseconds."""
    low, high = 0, min(len(a), len(b))
    left, right = memoryview(a), memoryview(b)
    while low < high:
        middle = (low + high + 1) // 2
        if left[low:middle] == right[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


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
    """All slots of one backend."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
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
        slot = self._target(match)
        slot.sequence, sequence.slot = sequence, slot.id
        if match is not None and match.awaited:
            sequence.leader, sequence.n_shared = match.slot.sequence, match.length
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

    def _usable(self, slot: Slot, sequence: Sequence) -> int:
        """How many cells of ``slot`` serve ``sequence``; one token is always left to be decoded for its logits."""
        prompt = sequence.tokens
        if slot.adapters != sequence.request.adapters:
            return 0
        length = min(len(prompt) - 1, common_prefix(prompt, slot.tokens))
        return length if self._backend.can_trim or length == len(slot.tokens) else 0

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

    @staticmethod
    def _least_valuable(idle: list[Slot]) -> Slot:
        """An empty slot, the lowest first (neighbours share one pass over the weights), or the longest unused."""
        return min(idle, key=lambda slot: (bool(slot.tokens), slot.used, slot.id))

    def _fill(self, slot: Slot, sequence: Sequence, match: Match | None) -> None:
        """Leaves in ``slot`` a prefix of the prompt: the match's cells by copy, or what it holds itself."""
        prompt = sequence.tokens
        own = self._usable(slot, sequence)
        slot.adapters = sequence.request.adapters
        if match and match.slot is not slot and match.length >= own + MIN_COPIED:
            kept = self._backend.copy(match.slot.id, slot.id, match.length)
            slot.tokens = prompt[:kept]
        elif own:
            kept = self._backend.trim(slot.id, own)
            slot.tokens = prompt[:kept]
        elif slot.tokens:
            self.clear(slot)
