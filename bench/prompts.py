"""Prompts of an exact number of tokens, in words of the models' vocabulary; the same seed gives the same prompts."""

from __future__ import annotations

import random


class Prompts:
    """A supply of texts.

    Args:
        words: each one token of the model, with the space before it.
        seed: decides the texts.
    """

    def __init__(self, words: list[str], seed: str) -> None:
        self._words = words
        self._random = random.Random(seed)

    def text(self, n_words: int) -> str:
        """``n_words`` random words: as many tokens, and one that the model puts in front."""
        return " ".join(self._random.choices(self._words, k=n_words))


def n_prompt_tokens(prompt: str) -> int:
    """The tokens of a prompt that is made of such words: one for each, and the one in front."""
    return len(prompt.split()) + 1
