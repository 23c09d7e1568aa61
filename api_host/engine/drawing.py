"""Finds the tokens that may be drawn from a row of logits, and draws one.

llama.cpp's samplers look at a vocabulary token by token, and sort all of it where no top_k comes first; numpy does the
same in a fraction of that time. Logits are float32, one for each token. Knows nothing of llama.cpp.
"""

from __future__ import annotations

import math

import numpy as np

# The largest of a row are looked for among the maxima of so many strips of it.
N_STRIPS = 64
# As many as that are sorted to find the least likely tokens of a nucleus; first among those whose probability, beside
# the likeliest one's, is as large as that.
SORTED = 1024
LIKELY = 0.01
# Divided by a lower temperature, logits are no numbers any more: it draws the likeliest token, as 0 does.
COLDEST = 1e-30
# A running sum over all weights is one over the sums of so many.
BLOCK = 256


def likeliest(logits: np.ndarray, k: int) -> np.ndarray:
    """The ids of the ``k`` largest logits, rising, and of a few more; of all where that is no search.

    At least k logits reach the k-th largest of the strips' maxima.
    """
    n_columns = len(logits) // N_STRIPS
    if k > n_columns:
        return np.arange(len(logits))
    maxima = np.maximum.reduce(logits[: n_columns * N_STRIPS].reshape(N_STRIPS, n_columns), axis=0)
    return np.flatnonzero(logits >= np.partition(maxima, n_columns - k)[n_columns - k])


def nucleus(logits: np.ndarray, top_p: float) -> np.ndarray:
    """The ids of the fewest tokens that have ``top_p`` of the probability together; none where there are no numbers.

    Mostly they are among the few that are likely. Else what is above the mean is either all in or all that matters, and
    so on until few are left to be sorted.
    """
    found = np.exp(logits - logits.max())
    lacking = top_p * float(found.sum())
    if not lacking > 0:
        return np.empty(0, np.intp)
    likely = np.flatnonzero(found >= LIKELY)
    if float(found[likely].sum()) >= lacking:
        ids, found = likely, found[likely]
    else:
        ids = np.arange(len(found))
    sure: list[np.ndarray] = []
    while len(found) > SORTED:
        above = found >= found.mean()
        chosen = np.flatnonzero(above)
        mass = float(found[chosen].sum())
        if mass < lacking:
            sure.append(ids[chosen])
            lacking -= mass
            chosen = np.flatnonzero(~above)
        if len(chosen) == len(found):
            break
        ids, found = ids[chosen], found[chosen]
    falling = np.argsort(-found)
    count = int(np.searchsorted(np.cumsum(found[falling], dtype=np.float64), lacking)) + 1
    return np.concatenate((*sure, ids[falling[:count]]))


def kept(logits: np.ndarray, top_p: float, min_p: float) -> np.ndarray | None:
    """The ids of the tokens that top_p and then min_p leave; None for all, or where logits are no numbers."""
    ids = nucleus(logits, top_p) if top_p < 1 else None
    if min_p > 0:
        ids = above_share(logits, min_p, ids)
    return ids if ids is not None and len(ids) else None


def above_share(logits: np.ndarray, min_p: float, ids: np.ndarray | None = None) -> np.ndarray:
    """Of ``ids``, or of all: the tokens with at least ``min_p`` of the likeliest one's probability."""
    found = logits if ids is None else logits[ids]
    above = np.flatnonzero(found >= found.max(initial=-np.inf) + np.float32(math.log(min_p)))
    return above if ids is None else ids[above]


def draw(logits: np.ndarray, temperature: float, share: float) -> int:
    """A token of all; ``share``, of [0, 1), is how much of the probability lies before it."""
    if temperature < COLDEST:
        return int(logits.argmax())
    weights = logits - logits.max()
    if temperature != 1:
        weights /= np.float32(temperature)
    np.exp(weights, out=weights)
    starts = np.arange(0, len(weights), BLOCK)
    sums = np.cumsum(np.add.reduceat(weights, starts), dtype=np.float64)
    goal = share * sums[-1]
    block = min(int(np.searchsorted(sums, goal, side="right")), len(starts) - 1)
    part = np.cumsum(weights[starts[block] : starts[block] + BLOCK], dtype=np.float64)
    index = int(np.searchsorted(part, goal - (sums[block - 1] if block else 0.0), side="right"))
    # Sums round in their own ways; what goes beyond a block is its last token with a weight.
    return int(starts[block]) + min(index, int(np.searchsorted(part, part[-1])))


def top_logprobs(logits: np.ndarray, token: int, n_top: int) -> list[tuple[int, float]]:
    """The natural log-probability of ``token``, then those of the ``n_top`` likeliest tokens, falling."""
    peak = float(logits.max())
    whole = peak + math.log(np.exp(logits - peak).sum(dtype=np.float64))
    ids = likeliest(logits, n_top) if n_top else np.empty(0, np.intp)
    falling = ids[np.argsort(-logits[ids], kind="stable")][:n_top]
    return [(int(id), float(logits[id]) - whole) for id in (token, *falling)]
