"""How many tokens of waiting prompts one step may read, so that a step stays short.

Knows nothing of sequences: it is told what a step decoded and how long that took.
"""

from __future__ import annotations

from collections.abc import Iterable

from api_host.engine.backend import Span

# Seconds that a step of prefill may take: beside sequences that somebody is reading, beside few of them when many wait,
# and when nothing else runs (then it only bounds how soon a cancellation is seen).
BESIDE_DECODE_S = 0.25
CROWD_S = 4.0
ALONE_S = 1.0
# Where steps are much shorter than that, as on a GPU, a pause that nobody notices is enough; but prompts in pieces
# smaller than what llama.cpp computes at once (n_ubatch) take longer.
UNNOTICED_S = 0.02
AT_ONCE = 512
# llama.cpp attends twice as fast on a CPU when it is given so many tokens of a sequence, or a multiple of them.
TILE = 64
# However slow a model is.
MIN_TOKENS = TILE
# Fewer tell nothing of the speed.
LEAST_MEASURED = 32


class PrefillBudget:
    """Adapts to the measured speed of prefill. ``limit`` is the most tokens that one decode takes."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._seconds_per_token: float | None = None

    def tokens(self, n_decoding: int, pending: list[int]) -> int:
        """The number of prompt tokens for the next step.

        Where prompts are read one after another, their texts begin and end one after another, in small batches whose
        tokens cost more. So a crowd is read in together, as long as few have to pause for it. Nor is a prompt left out
        or cut for being a little too long.

        Args:
            n_decoding: sequences that somebody is reading.
            pending: tokens that each prompt still lacks, oldest first.
        """
        if self._seconds_per_token is None:
            return min(self.limit, _rounded(max(MIN_TOKENS, self.limit // 4), pending))
        crowd = max(1.0, 2 * len(pending) * (len(pending) - 1) / max(1, n_decoding))
        seconds = min(CROWD_S, BESIDE_DECODE_S * crowd)
        if n_decoding:
            enough = crowd * max(AT_ONCE, UNNOTICED_S / self._seconds_per_token)
            target = min(enough, seconds / self._seconds_per_token)
        else:
            target = max(ALONE_S, seconds) / self._seconds_per_token
        return min(self.limit, _rounded(max(MIN_TOKENS, int(target)), pending))

    def seconds(self, n_tokens: int) -> float | None:
        """How long it takes to read so many tokens; None while that is not known."""
        return None if self._seconds_per_token is None else n_tokens * self._seconds_per_token

    def observe(self, spans: Iterable[Span], seconds: float) -> None:
        """A step took ``seconds``; only those of prefill tell its speed."""
        n_prefill = sum(len(span.tokens) for span in spans if len(span.tokens) > span.n_outputs)
        if n_prefill < LEAST_MEASURED:
            return
        measured = seconds / n_prefill
        known = self._seconds_per_token
        # A small batch takes hardly less time than a large one on a GPU, and says little of what a token costs.
        weight = n_prefill / (n_prefill + AT_ONCE)
        self._seconds_per_token = measured if known is None else known + weight * (measured - known)


def _rounded(budget: int, pending: list[int]) -> int:
    """The budget, or what it takes for one more prompt to be read whole; an oldest one may double a small one."""
    end = 0
    for n_pending in pending:
        most = budget + (min(budget, AT_ONCE // 2) if end == 0 else n_pending // 2)
        end += n_pending
        if end > budget:
            return end if end <= most else budget
    return budget


def share(budget: int, pending: list[int]) -> list[int]:
    """How many tokens of each prompt a step reads, oldest first.

    Whole prompts go together as long as they fit. Only an oldest prompt that is larger than the budget is cut, and
    then short ones behind it may have up to half, so that they need not wait until it is read. A prompt read in one
    piece rounds as it does alone, and pieces cost more than they are long.

    Args:
        budget: tokens for all of them.
        pending: tokens that each prompt still lacks.
    """
    cut = bool(pending) and pending[0] > budget
    taken = [0] * len(pending)
    left = budget // 2 if cut else budget
    for i, n_pending in enumerate(pending):
        if n_pending <= left:
            taken[i] = n_pending
            left -= n_pending
    if cut:
        taken[0] = _in_tiles(budget - sum(taken))
    return taken


def _in_tiles(n_tokens: int) -> int:
    """As many whole tiles as fit; all where not even one fits."""
    return n_tokens - n_tokens % TILE if n_tokens >= TILE else n_tokens
