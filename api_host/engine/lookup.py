"""Guesses what comes next in a text from an earlier place in it (prompt-lookup decoding): answers that quote their
prompt, code that is rewritten, tables that are filled. A guess costs little beside the token that is decoded anyway.

Knows nothing of batches. The idea is Apoorv Saxena's (github.com/apoorvumang/prompt-lookup-decoding).
"""

from __future__ import annotations

from array import array

from api_host.engine.guessing import GuessLength
from api_host.engine.sequence import Sequence

# Tokens that must stand in the text before, for what followed them there to be guessed again.
KEY_TOKENS = 3
MOST_GUESSED = 8


class PromptLookup:
    """The places of all texts that were asked for; implements Guesser."""

    def __init__(self) -> None:
        self._texts: dict[Sequence, _Places] = {}

    def guess(self, sequences: list[Sequence]) -> dict[Sequence, array[int]]:
        guesses = {sequence: self._guess(sequence) for sequence in sequences}
        return {sequence: guess for sequence, guess in guesses.items() if guess}

    def judged(self, sequence: Sequence, n_guessed: int, n_right: int) -> None:
        self._texts[sequence].length.judged(n_guessed, n_right)

    def forget(self, sequence: Sequence) -> None:
        self._texts.pop(sequence, None)

    def _guess(self, sequence: Sequence) -> array[int]:
        places = self._texts.setdefault(sequence, _Places(sequence.tokens))
        return places.guess(min(places.length.next(), sequence.n_left - 1))


class _Places:
    """Where in a text, which grows, each few tokens stood last, and how well guesses have gone."""

    def __init__(self, tokens: array[int]) -> None:
        self.length = GuessLength(MOST_GUESSED)
        self._tokens = tokens
        self._places: dict[tuple[int, ...], int] = {}
        self._n_seen = KEY_TOKENS

    def guess(self, most: int) -> array[int]:
        """At most ``most`` tokens that followed the last ones before."""
        tokens = self._tokens
        for end in range(self._n_seen, len(tokens)):
            self._places[tuple(tokens[end - KEY_TOKENS : end])] = end
        self._n_seen = max(self._n_seen, len(tokens))
        place = self._places.get(tuple(tokens[-KEY_TOKENS:]), len(tokens))
        return tokens[place : place + most]
