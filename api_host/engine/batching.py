"""What one step decodes: the next token of each sequence that writes, or as much prefill as keeps the step short.

Knows sequences, slots and their adapters; decodes and samples nothing.
"""

from __future__ import annotations

from array import array

from api_host.engine.backend import Adapters, Span
from api_host.engine.guessing import Guesser
from api_host.engine.prefill import TILE, PrefillBudget, share
from api_host.engine.sequence import Sequence
from api_host.engine.shared_ends import behind_one_prefix
from api_host.engine.slots import Slots
from api_host.engine.tiles import Tiles

# With more sequences a step is no longer bound by reading the weights, and further rows cost their full price.
MOST_SEQUENCES_GUESSED = 2


class Batching:
    """Builds the batches of one backend; sequences with different adapters take turns.

    ``guesser`` None guesses nothing.
    """

    def __init__(self, budget: PrefillBudget, slots: Slots, guesser: Guesser | None) -> None:
        self._slots = slots
        self._guesser = guesser
        self._budget = budget
        self._tiles = Tiles() if slots.attend_in_tiles else None
        self._turn: tuple[Adapters, bool] = (), False
        self._spans: dict[Sequence, Span] = {}
        self._observed: tuple[list[Span], float] | None = None
        # All that ran, where each of them wrote one token in the last batch: most batches are the last one again.
        self._writing: list[Sequence] = []

    def build(self, running: list[Sequence]) -> dict[Sequence, Span]:
        """The next batch, in the order of the slots: the next token of each, or prefill, oldest first."""
        if self.goes_on(running):
            return self._next_token_of_each()
        for sequence in running:
            if sequence.leader is not None:
                self._slots.take_shared(sequence)
        ready = [sequence for sequence in running if sequence.leader is None]
        suspects = [sequence for sequence in ready if sequence.suspect]
        group = self._of_one_turn(suspects[:1] or ready)
        self._writing = []
        if group and group[0].prefilling:
            n_decoding = sum(not sequence.prefilling for sequence in ready)
            spans = self._prefill(group, n_decoding)
        elif self._guesser is not None and len(group) <= MOST_SEQUENCES_GUESSED:
            guesses = self._guesser.guess(group)
            spans = {sequence: _span(sequence, 1, guesses.get(sequence)) for sequence in group}
        else:
            spans = {sequence: _span(sequence, 1) for sequence in group}
            if len(group) == len(running):
                self._writing = list(running)
        self._spans = dict(sorted(spans.items(), key=lambda entry: entry[1].slot))
        return self._spans

    def goes_on(self, running: list[Sequence]) -> bool:
        """Whether the next batch is the last one, a token further."""
        return bool(running) and running == self._writing

    def _next_token_of_each(self) -> dict[Sequence, Span]:
        """The last batch, a token further."""
        for sequence, span in self._spans.items():
            span.start += 1
            span.tokens = sequence.tokens[-1:]
        return self._spans

    @property
    def reads(self) -> bool:
        """Whether the batch that was built last is of prompts."""
        return self._turn[1]

    def start_over(self) -> None:
        """The last batch failed."""
        self._writing = []

    def _prefill(self, group: list[Sequence], n_decoding: int) -> dict[Sequence, Span]:
        pending = [len(sequence.tokens) - sequence.n_computed for sequence in group]
        pieces = share(self._budget.tokens(n_decoding, pending), pending)
        spans = {
            sequence: _span(sequence, n_taken)
            for sequence, n_taken in zip(group, pieces, strict=True)
            if n_taken
        }
        if self._slots.read_together and not group[0].request.adapters:
            self._share(spans)
        if self._tiles is not None:
            self._fill(spans, self._tiles)
        return spans

    def _share(self, spans: dict[Sequence, Span]) -> None:
        """Ends behind one prefix are told of it, and begin there."""
        length, sequences = behind_one_prefix(spans)
        n_again = sum(sequence.n_computed - length for sequence in sequences)
        if sum(len(span.tokens) for span in spans.values()) + n_again > self._budget.limit:
            return
        for sequence in sequences:
            if sequence.n_computed > length:
                spans[sequence] = self._end_from(length, sequence)
            spans[sequence].shared = sequences[0].tokens[:length]

    def _fill(self, spans: dict[Sequence, Span], tiles: Tiles) -> None:
        """Short ends begin sooner where that pays; all of a step or none, for llama.cpp cuts it by the shortest.

        A tile rounds in another way, so texts that are to be the same each time are left alone.
        """
        missing = [
            tiles.missing(len(span.tokens), span.start)
            if span.n_outputs and not (span.shared or sequence.request.sampling.is_repeatable)
            else 0
            for sequence, span in spans.items()
        ]
        if 0 in missing or TILE * len(spans) > self._budget.limit:
            return
        for (sequence, span), n_again in zip([*spans.items()], missing, strict=True):
            spans[sequence] = self._end_from(span.start - n_again, sequence)

    def _end_from(self, length: int, sequence: Sequence) -> Span:
        """All of a prompt behind its first ``length`` tokens, of which more are there already."""
        assert sequence.slot is not None
        sequence.n_computed = self._slots.trim(self._slots[sequence.slot], length)
        sequence.n_cached = min(sequence.n_cached, sequence.n_computed)
        return _span(sequence, len(sequence.tokens) - sequence.n_computed)

    @property
    def adapters(self) -> Adapters:
        """Those of the batch that was built last."""
        return self._turn[0]

    def observe(self, spans: dict[Sequence, Span], seconds: float) -> None:
        """Notes how long a decode took."""
        self._observed = [*spans.values()], seconds

    def learn(self) -> None:
        """Learns from what was noted: later, because somebody waits for what the decode gave."""
        if self._observed is None:
            return
        spans, seconds = self._observed
        self._observed = None
        self._budget.observe(spans, seconds)
        if self._tiles is not None:
            self._tiles.observe(spans, seconds)

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
