"""What one step decodes: every running sequence's next token, and as much prefill as keeps the step short.

Knows sequences, slots and their adapters; decodes and samples nothing.
"""

from __future__ import annotations

from array import array

from api_host.engine.backend import Adapters, Span
from api_host.engine.guessing import Guesser
from api_host.engine.prefill import PrefillBudget, share
from api_host.engine.sequence import Sequence
from api_host.engine.slots import Slots

# With more sequences a step is no longer bound by reading the weights, and further rows cost their full price.
MOST_SEQUENCES_GUESSED = 2


class Batching:
    """Builds the batches of one backend; sequences with different adapters take turns."""

    def __init__(self, budget: PrefillBudget, slots: Slots, guesser: Guesser) -> None:
        self._slots = slots
        self._guesser = guesser
        self._budget = budget
        self._adapters: Adapters = ()

    def build(self, running: list[Sequence]) -> dict[Sequence, Span]:
        """The next batch, in the order of the slots: oldest prefill first, all of one set of adapters."""
        for sequence in running:
            if sequence.leader is not None:
                self._slots.take_shared(sequence)
        ready = [sequence for sequence in running if sequence.leader is None]
        suspects = [sequence for sequence in ready if sequence.suspect]
        ready = self._of_one_turn(suspects[:1] or ready)
        decoding: list[Sequence] = []
        prefilling: list[Sequence] = []
        for sequence in ready:
            (prefilling if sequence.prefilling else decoding).append(sequence)
        guesses = self._guesser.guess(decoding) if len(decoding) <= MOST_SEQUENCES_GUESSED else {}
        pending = [len(sequence.tokens) - sequence.n_computed for sequence in prefilling]
        n_guessed = sum(map(len, guesses.values()))
        budget = self._budget.tokens(len(decoding), pending, n_guessed)
        pieces = share(budget, pending, beside_others=bool(decoding))
        spans = {sequence: _span(sequence, 1, guesses.get(sequence)) for sequence in decoding}
        spans |= {
            sequence: _span(sequence, n_taken)
            for sequence, n_taken in zip(prefilling, pieces, strict=True)
            if n_taken
        }
        return dict(sorted(spans.items(), key=lambda entry: entry[1].slot))

    @property
    def adapters(self) -> Adapters:
        """Those of the batch that was built last."""
        return self._adapters

    def observe(self, spans: dict[Sequence, Span], seconds: float) -> None:
        """Learns how long a decode took."""
        self._budget.observe(spans.values(), seconds)

    def _of_one_turn(self, ready: list[Sequence]) -> list[Sequence]:
        """The sequences of the set of adapters whose turn it is."""
        sets = list(dict.fromkeys(sequence.request.adapters for sequence in ready))
        if not sets:
            return ready
        after = sets.index(self._adapters) + 1 if self._adapters in sets else 0
        self._adapters = sets[after % len(sets)]
        return [sequence for sequence in ready if sequence.request.adapters == self._adapters]


def _span(sequence: Sequence, n_taken: int, guess: array[int] | None = None) -> Span:
    """The next tokens of a sequence, and a guess at what follows the newest."""
    assert sequence.slot is not None
    start = sequence.n_computed
    tokens = sequence.tokens[start : start + n_taken]
    if start + n_taken < len(sequence.tokens):
        return Span(sequence.slot, tokens, start)
    if guess:
        tokens += guess
    return Span(sequence.slot, tokens, start, n_outputs=len(tokens) - n_taken + 1)
