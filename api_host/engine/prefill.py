"""How many tokens of waiting prompts one step may read, so that a step stays short.

Knows nothing of sequences: it is told what a step decoded and how long that took.
"""

from __future__ import annotations

from collections.abc import Iterable

from api_host.engine.backend import Span

# Seconds that prefill may add to a step: beside sequences that somebody is reading, and when nothing else runs
# (then it only bounds how soon a cancellation is seen).
BESIDE_DECODE_S = 0.1
ALONE_S = 0.5
MIN_TOKENS = 32


class PrefillBudget:
    """Adapts to the measured speed of prefill. ``limit`` is the most tokens that one decode takes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._seconds_per_token: float | None = None

    def tokens(self, n_decoding: int) -> int:
        """The number of prompt tokens for the next step, beside ``n_decoding`` sequences that decode."""
        room = max(1, self._limit - n_decoding)
        if self._seconds_per_token is None:
            return min(room, self._limit // 4 or 1)
        target = BESIDE_DECODE_S if n_decoding else ALONE_S
        return min(room, max(MIN_TOKENS, int(target / self._seconds_per_token)))

    def observe(self, spans: Iterable[Span], seconds: float) -> None:
        """A step took ``seconds``; only those that were mostly prefill tell its speed."""
        sizes = [len(span.tokens) for span in spans]
        n_prefill = sum(size for size in sizes if size > 1)
        if n_prefill < MIN_TOKENS:
            return
        measured = seconds / sum(sizes)
        known = self._seconds_per_token
        self._seconds_per_token = measured if known is None else 0.5 * known + 0.5 * measured
