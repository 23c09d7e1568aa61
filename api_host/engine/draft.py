"""Guesses what comes next in a text with a second, smaller model (speculative decoding): it reads the text as well,
and goes on with it greedily for as long as it is sure of itself.

Knows nothing of llama.cpp and nothing of the model that it guesses for; what its slots hold is found by comparing
tokens, so whoever changes slots, or starts over, need not tell.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Iterable
from typing import Protocol

from api_host.engine.backend import Backend, DecodeFailed, Span
from api_host.engine.guessing import GuessLength
from api_host.engine.prefill import PrefillBudget
from api_host.engine.prefixes import common_prefix
from api_host.engine.sequence import Sequence

# Below this probability of its likeliest token a further guess costs more than it brings.
LEAST_PROBABILITY = 0.5


class DraftModel(Backend, Protocol):
    """A context with as many slots as that of the model it guesses for."""

    def likeliest(self, row: int) -> tuple[int, float]:
        """The likeliest token in a row of the last batch, and its probability."""
        ...

    def is_eog(self, token: int) -> bool: ...


class Draft:
    """Implements Guesser.

    Args:
        model: guesses; a sequence has the same slot there.
        most: tokens a guess.
        clock: seconds; monotonic.
    """

    def __init__(self, model: DraftModel, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._model = model
        self._most = most
        self._clock = clock
        self._budget = PrefillBudget(model.n_batch)
        self._cells = [array("i") for _ in range(model.n_slots)]
        self._lengths: dict[Sequence, GuessLength] = {}

    def guess(self, sequences: list[Sequence]) -> dict[Sequence, array[int]]:
        lengths = {sequence: self._length(sequence) for sequence in sequences}
        wanted = {sequence: length for sequence, length in lengths.items() if length > 0}
        if not wanted:
            return {}
        try:
            guesses = self._go_on(self._read(list(wanted)), wanted)
        except DecodeFailed:
            for sequence in wanted:
                self._clear(_slot(sequence))
            guesses = {sequence: array("i") for sequence in wanted}
        for sequence, guess in guesses.items():
            if not guess:
                # What it does not know has cost a decode all the same.
                self._lengths[sequence].judged(1, 0)
        return {sequence: guess for sequence, guess in guesses.items() if guess}

    def judged(self, sequence: Sequence, n_guessed: int, n_right: int) -> None:
        self._lengths[sequence].judged(n_guessed, n_right)

    def forget(self, sequence: Sequence) -> None:
        self._lengths.pop(sequence, None)

    def _length(self, sequence: Sequence) -> int:
        """How many tokens of a text are to be guessed now."""
        room = min(sequence.n_left - 1, self._model.n_ctx - len(sequence.tokens))
        length = self._lengths.setdefault(sequence, GuessLength(self._most))
        return min(room, length.next()) if room > 0 else 0

    def _read(self, sequences: list[Sequence]) -> dict[Sequence, Span]:
        """Reads what the draft lacks of the texts, as much as keeps a step short.

        Returns:
            The spans of those that are read to their end.
        """
        for sequence in sequences:
            self._drop_wrong(sequence)
        left = self._budget.tokens(len(sequences), [self._n_lacking(sequence) for sequence in sequences])
        spans = {}
        # Those that lack a token or two go first; of two prompts one is read to its end, and may serve the other.
        for sequence in sorted(sequences, key=self._n_lacking):
            if not left:
                break
            self._copy_longest(sequence)
            spans[sequence] = self._next_span(sequence, left)
            left -= len(spans[sequence].tokens)
        started = self._clock()
        self._decode(spans.values())
        self._budget.observe(spans.values(), self._clock() - started)
        return {sequence: span for sequence, span in spans.items() if span.n_outputs}

    def _go_on(self, spans: dict[Sequence, Span], wanted: dict[Sequence, int]) -> dict[Sequence, array[int]]:
        """Guesses token by token, all texts in one batch, each until it has enough or the draft is not sure."""
        guesses = {sequence: array("i") for sequence in spans}
        while spans:
            likeliest = {sequence: self._model.likeliest(span.row) for sequence, span in spans.items()}
            spans = {}
            for sequence, (token, probability) in likeliest.items():
                if probability < LEAST_PROBABILITY or self._model.is_eog(token):
                    continue
                guess, slot = guesses[sequence], _slot(sequence)
                guess.append(token)
                if len(guess) < wanted[sequence]:
                    spans[sequence] = Span(slot, guess[-1:], len(self._cells[slot]), n_outputs=1)
            self._decode(spans.values())
        return guesses

    def _n_lacking(self, sequence: Sequence) -> int:
        return len(sequence.tokens) - len(self._cells[_slot(sequence)])

    def _next_span(self, sequence: Sequence, most: int) -> Span:
        """The next ``most`` tokens that the draft lacks, or all that there are."""
        slot, tokens = _slot(sequence), sequence.tokens
        start = len(self._cells[slot])
        end = min(len(tokens), start + most)
        return Span(slot, tokens[start:end], start, n_outputs=int(end == len(tokens)))

    def _decode(self, spans: Iterable[Span]) -> None:
        batch = sorted(spans, key=lambda span: span.slot)
        if batch:
            self._model.decode(batch)
            self._model.wait()
        for span in batch:
            self._cells[span.slot].extend(span.tokens)

    def _drop_wrong(self, sequence: Sequence) -> None:
        """Drops the cells of what the text has not become; its newest token is always read for its logits."""
        slot, tokens = _slot(sequence), sequence.tokens
        cells = self._cells[slot]
        length = min(_common(cells, tokens), len(tokens) - 1)
        if length < len(cells):
            self._cells[slot] = cells[: self._model.trim(slot, length)]

    def _copy_longest(self, sequence: Sequence) -> None:
        """Gives a text's slot what another slot knows of it, where that saves reading."""
        if self._n_lacking(sequence) <= self._model.min_copied:
            return
        slot, tokens = _slot(sequence), sequence.tokens
        known = [min(_common(cells, tokens), len(tokens) - 1) for cells in self._cells]
        source = max(range(len(known)), key=known.__getitem__)
        if known[source] >= known[slot] + self._model.min_copied:
            kept = self._model.copy(source, slot, known[source])
            self._cells[slot] = tokens[:kept]

    def _clear(self, slot: int) -> None:
        self._model.clear(slot)
        self._cells[slot] = array("i")


def _common(cells: array[int], tokens: array[int]) -> int:
    return common_prefix(cells.tobytes(), tokens.tobytes())


def _slot(sequence: Sequence) -> int:
    assert sequence.slot is not None, "guesses are made for sequences that run"
    return sequence.slot
