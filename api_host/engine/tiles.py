"""Whether the short end of a prompt is read sooner with some of the tokens before it, which are there already.

llama.cpp attends on a CPU tile by tile to TILE tokens of a sequence or more, and to fewer one by one. How much longer
that takes differs by processor, so it is learned from the steps: a token costs so much, and so much more for each token
before it, as one of few or in a tile. Knows nothing of sequences.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from api_host.engine.backend import Span
from api_host.engine.prefill import AT_ONCE, TILE

# A step with fewer tokens takes as long as reading the weights does.
LEAST = 16
# Behind fewer tokens there is little to attend to.
LEAST_BEFORE = 256
# What has to be gained, and how much of what was learned before stays with each step.
GAIN = 0.85
KEPT = 0.9
# Steps that have to be seen first; and where the determinant says that they were too much alike.
MIN_STEPS = 3
ALIKE = 0.002
# How many times as long few tokens take, until a tile has been seen.
GUESSED = 8.0


class Tiles:
    """Least squares of relative errors over the last steps."""

    def __init__(self) -> None:
        self._products = np.zeros((3, 3))
        self._sums = np.zeros(3)
        self._n_steps = 0
        self._costs: tuple[float, float, float] | None = None

    def observe(self, spans: Iterable[Span], seconds: float) -> None:
        """A step of prompts took ``seconds``."""
        spans = list(spans)
        n = len(spans[0].tokens)
        # llama.cpp makes passes of AT_ONCE tokens, and of as many of each sequence; the others leave short ends.
        if n < LEAST or (n > AT_ONCE and 0 < n % AT_ONCE < TILE) or seconds <= 0:
            return
        if any(span.shared or len(span.tokens) != n for span in spans):
            return
        tokens, pairs = n * len(spans), sum(n * (span.start + n / 2) for span in spans)
        row = np.array([tokens, 0, pairs] if n >= TILE else [tokens, pairs, 0]) / seconds
        self._products = KEPT * self._products + np.outer(row, row)
        self._sums = KEPT * self._sums + row
        self._n_steps += 1
        self._costs = self._solved() if self._n_steps >= MIN_STEPS else None

    def missing(self, n_tokens: int, start: int) -> int:
        """How many of the ``start`` tokens before an end of ``n_tokens`` are to be read again with it; 0 if none."""
        missing = TILE - n_tokens
        if self._costs is None or n_tokens < LEAST or missing <= 0 or start < LEAST_BEFORE:
            return 0
        token, few, tiled = self._costs
        before = start + n_tokens / 2
        filled, alone = TILE * (token + tiled * before), n_tokens * (token + few * before)
        return missing if filled < GAIN * alone else 0

    def _solved(self) -> tuple[float, float, float] | None:
        """Seconds for a token, for one before it where they are few, and in a tile; None where that is not known."""
        known = [i for i in range(3) if self._products[i, i] > 0]
        if 1 not in known:
            return None
        scale = np.sqrt(np.diag(self._products)[known])
        products = self._products[np.ix_(known, known)] / np.outer(scale, scale)
        if np.linalg.det(products) < ALIKE:
            return None
        token, few, *tiled = np.linalg.solve(products, self._sums[known] / scale) / scale
        costs = float(token), float(few), float(tiled[0] if tiled else few / GUESSED)
        return costs if min(costs) > 0 else None
