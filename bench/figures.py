"""Medians, percentiles, and the gaps between events: the arithmetic behind every figure."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from statistics import median


def percentile(values: Iterable[float], share: float) -> float:
    """The smallest value that at least ``share`` (0 to 1) of the values do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def gaps_within(times: Sequence[float], start: float, end: float) -> list[float]:
    """The gaps between neighbouring times that overlap the window from ``start`` to ``end``."""
    pairs = itertools.pairwise(times)
    return [after - before for before, after in pairs if after > start and before < end]


def ratio_of_pairs(ours: dict[int, float], theirs: dict[int, float]) -> float | None:
    """The median over the pairs that both have of ours / theirs; None without such a pair."""
    ratios = [ours[pair] / theirs[pair] for pair in sorted(ours.keys() & theirs.keys())]
    return median(ratios) if ratios else None
