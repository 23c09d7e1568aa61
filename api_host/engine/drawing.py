"""Finds the tokens that may be drawn from a row of logits, and draws from all of them.

llama.cpp's samplers look at a vocabulary token by token, and sort all of it where no top_k comes first. Numpy finds the
few that matter in a fraction of that time; a chain of llama.cpp's then draws among these. Logits are float32, one for
each token. Knows nothing of llama.cpp.
"""

from __future__ import annotations

import math

import numpy as np

# The largest of a row are looked for among the maxima of so many strips of it.
N_STRIPS = 64
# Weights, beside the largest one, down to which a nucleus is looked for: few are sorted where few are enough.
CUTS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 0.0)
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
    """The ids of the fewest tokens that have ``top_p`` of the probability together; none where there are no numbers."""
    weights = np.exp(logits - logits.max())
    enough = top_p * float(weights.sum())
    if not enough > 0:
        return np.empty(0, np.intp)
    for cut in CUTS:
        ids = np.flatnonzero(weights >= cut)
        found = weights[ids]
        if found.sum() >= enough:
            break
    falling = np.sort(found)[::-1]
    count = int(np.searchsorted(np.cumsum(falling, dtype=np.float64), enough)) + 1
    least = falling[min(count, len(falling)) - 1]
    above, equal = ids[found > least], ids[found == least]
    return np.concatenate((above, equal[: count - len(above)]))


def above_share(logits: np.ndarray, min_p: float) -> np.ndarray:
    """The ids of the tokens with at least ``min_p`` of the likeliest one's probability."""
    return np.flatnonzero(logits >= logits.max() + np.float32(math.log(min_p)))


def draw(logits: np.ndarray, temperature: float, share: float) -> int:
    """A token of all; ``share``, of [0, 1), is how much of the probability lies before it."""
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
