"""``no_repeat_ngram_size`` as the transformers library defines it (NoRepeatNGramLogitsProcessor): no n tokens in a
row stand twice in a text, its prompt included."""

from __future__ import annotations

from array import array


class NoRepeatNgrams:
    """The n-grams of one text.

    Args:
        size: n; at least 1.
        tokens: the prompt.
    """

    def __init__(self, size: int, tokens: array[int]) -> None:
        self._size = size
        self._tokens = array("i")
        self._following: dict[tuple[int, ...], set[int]] = {}
        for token in tokens:
            self.accept(token)

    def accept(self, token: int) -> None:
        """The text goes on with ``token``."""
        if len(self._tokens) >= self._size - 1:
            self._following.setdefault(self._last(), set()).add(token)
        self._tokens.append(token)

    @property
    def banned(self) -> set[int]:
        """The tokens that would complete an n-gram that stands in the text already."""
        return self._following.get(self._last(), set()) if len(self._tokens) >= self._size - 1 else set()

    def _last(self) -> tuple[int, ...]:
        return tuple(self._tokens[len(self._tokens) - self._size + 1 :])
