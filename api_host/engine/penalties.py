"""Penalties on the tokens of a text's end, by llama.cpp's rule (src/llama-sampler.cpp, penalties).

Knows nothing of llama.cpp: tokens in, changed logits out.
"""

from __future__ import annotations

from array import array
from collections import Counter, deque

import numpy as np

from api_host.generation import SamplingParams


class Penalties:
    """The penalties on one text's last tokens.

    Args:
        params: ``repeat_penalty``, ``frequency_penalty``, ``presence_penalty``.
        last_n: tokens that count; at least 1.
        tokens: the prompt.
    """

    def __init__(self, params: SamplingParams, last_n: int, tokens: array[int]) -> None:
        self._repeat = np.float32(params.repeat_penalty)
        self._frequency = np.float32(params.frequency_penalty)
        self._presence = np.float32(params.presence_penalty)
        self._last = deque(tokens[-last_n:], maxlen=last_n)
        self._counts = Counter(self._last)

    def accept(self, token: int) -> None:
        """The text goes on with ``token``."""
        if len(self._last) == self._last.maxlen:
            oldest = self._last[0]
            self._counts[oldest] -= 1
            if not self._counts[oldest]:
                del self._counts[oldest]
        self._last.append(token)
        self._counts[token] += 1

    def apply(self, logits: np.ndarray) -> None:
        """Changes the logits of the tokens that have been."""
        n = len(self._counts)
        ids = np.fromiter(self._counts, np.intp, n)
        counts = np.fromiter(self._counts.values(), np.float32, n)
        found = logits[ids]
        found = np.where(found <= 0, found * self._repeat, found / self._repeat)
        logits[ids] = found - (counts * self._frequency + self._presence)
