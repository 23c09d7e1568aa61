"""What one step decodes: the next token of each sequence that writes, or as much prefill as keeps the step short.

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
        self._turn: tuple[Adapters, bool] = (), False

    def build(self, running: list[Sequence]) -> dict[Sequence, Span]:
        """The next batch, in the order of the slots: the next token of each, or prefill, oldest first."""
        for sequence in running:
            if sequence.leader is not None:
                self._slots.take_shared(sequence)
        ready = [sequence for sequence in running if sequence.leader is None]
        suspects = [sequence for sequence in ready if sequence.suspect]
        group = self._of_one_turn(suspects[:1] or ready)
        if group and group[0].prefilling:
            n_decoding = sum(not sequence.prefilling for sequence in ready)
            spans = self._prefill(group, n_decoding)
        else:
            guesses = self._guesser.guess(group) if len(group) <= MOST_SEQUENCES_GUESSED else {}
            spans = {sequence: _span(sequence, 1, guesses.get(sequence)) for sequence in group}
        return dict(sorted(spans.items(), key=lambda entry: entry[1].slot))

    def _prefill(self, group: list[Sequence], n_decoding: int) -> dict[Sequence, Span]:
        pending = [len(sequence.tokens) - sequence.n_computed for sequence in group]
        pieces = share(self._budget.tokens(n_decoding, pending), pending)
        return {
            sequence: _span(sequence, n_taken)
            for sequence, n_taken in zip(group, pieces, strict=True)
            if n_taken
        }

    @property
    def adapters(self) -> Adapters:
        """Those of the batch that was built last."""
        return self._turn[0]

    def observe(self, spans: dict[Sequence, Span], seconds: float) -> None:
        """Learns how long a decode took."""
        self._budget.observe(spans.values(), seconds)

    def _of_one_turn(self, ready: list[Sequence]) -> list[Sequence]:
        """Those whose turn it is: of one set of adapters, and either reading their prompts or writing."""
        kinds = list(dict.fromkeys(map(_kind, ready)))
        if not kinds:
            return ready
        after = kinds.index(self._turn) + 1 if self._turn in kinds else 0
        self._turn = kinds[after % len(kinds)]
        return [sequence for sequence in ready if _kind(sequence) == self._turn]


def _kind(sequence: Sequence) -> tuple[Adapters, bool]:
    return sequence.request.adapters, sequence.prefilling


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
