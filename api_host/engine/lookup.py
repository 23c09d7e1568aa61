"""Guesses what comes next in a text from an earlier place in it (prompt-lookup decoding): answers that quote their
prompt, code that is rewritten, tables that are filled. A guess costs little beside the token that is decoded anyway;
the sampler judges each one, so the text is the same with guesses and without.

Knows nothing of batches. The idea is Apoorv Saxena's (github.com/apoorvumang/prompt-lookup-decoding).
"""

from __future__ import annotations

from array import array

# Tokens that must stand in the text before, for what followed them there to be guessed again.
KEY_TOKENS = 3
MOST_GUESSED = 8
LONGEST_PAUSE = 64


class PromptLookup:
    """The places of one text, and how well guesses have gone.

    ``guess`` before a step, ``judged`` after it, ``accept`` for every token of the answer.
    """

    def __init__(self, prompt: array[int]) -> None:
        self._tokens = array("i", prompt)
        self._places: dict[tuple[int, ...], int] = {}
        self._length = 2
        self._pause = 1
        self._wait = 0
        for end in range(KEY_TOKENS, len(prompt)):
            self._places[tuple(prompt[end - KEY_TOKENS : end])] = end

    def accept(self, token: int) -> None:
        """The text goes on with ``token``."""
        end = len(self._tokens)
        if end >= KEY_TOKENS:
            self._places[tuple(self._tokens[end - KEY_TOKENS :])] = end
        self._tokens.append(token)

    def guess(self, most: int) -> array[int]:
        """At most ``most`` tokens that followed these last ones before; none while guessing does not pay."""
        if self._wait:
            self._wait -= 1
            return array("i")
        place = self._places.get(tuple(self._tokens[-KEY_TOKENS:]))
        if place is None:
            return array("i")
        return self._tokens[place : place + min(most, self._length)]

    def judged(self, n_guessed: int, n_right: int) -> None:
        """Longer guesses after a right one, a pause that doubles after a wrong one."""
        if n_right == n_guessed:
            self._length = min(MOST_GUESSED, 2 * self._length)
            self._pause = 1
        elif 2 * n_right < n_guessed:
            self._length = 2
            self._wait = self._pause
            self._pause = min(LONGEST_PAUSE, 2 * self._pause)
