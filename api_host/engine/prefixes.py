"""Texts of tokens, and which of them have the longest beginning in common with another.

Kept in order, so that those who begin alike are neighbours: hundreds of texts of thousands of tokens cost a
bisection and two exact comparisons. Knows nothing of slots or of what is cached.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator

from api_host.engine.backend import Adapters

_SIZE = array("i").itemsize


def common_prefix(a: bytes, b: bytes) -> int:
    """The number of tokens with which both begin; compares halves, so thousands cost microseconds."""
    low, high = 0, min(len(a), len(b)) // _SIZE
    if a.startswith(b[: high * _SIZE]):
        return high
    while high - low > 1:
        middle = (low + high) // 2
        if a.startswith(b[low * _SIZE : middle * _SIZE], low * _SIZE):
            low = middle
        else:
            high = middle
    return low


class Prefixes:
    """The texts of holders, who are numbers; texts made with different adapters have nothing in common."""

    def __init__(self) -> None:
        self._texts: list[tuple[Adapters, bytes, int]] = []
        # What each text has in common with the one before it. What two texts have in common is the least of those
        # between them.
        self._common = [0]
        self._of: dict[int, tuple[Adapters, bytes, int]] = {}

    def put(self, holder: int, tokens: array[int], adapters: Adapters) -> None:
        """``holder`` has these tokens from now on, and no longer what it had."""
        self.drop(holder)
        if not tokens:
            return
        text = (adapters, tokens.tobytes(), holder)
        at = bisect_left(self._texts, text)
        self._common[at : at + 1] = [self._with(at - 1, *text[:2]), self._with(at, *text[:2])]
        self._texts.insert(at, text)
        self._of[holder] = text

    def drop(self, holder: int) -> None:
        text = self._of.pop(holder, None)
        if text is not None:
            at = bisect_left(self._texts, text)
            del self._texts[at]
            self._common[at : at + 2] = [min(self._common[at : at + 2])]

    def nearest(self, tokens: array[int], adapters: Adapters) -> Iterator[tuple[int, int]]:
        """The holders whose texts begin like ``tokens``, with the number of tokens in common, the most first."""
        text = tokens.tobytes()
        after = bisect_left(self._texts, (adapters, text))
        before = after - 1
        left, right = self._with(before, adapters, text), self._with(after, adapters, text)
        while left or right:
            if left >= right:
                yield self._texts[before][2], left
                left = min(left, self._common[before])
                before -= 1
            else:
                yield self._texts[after][2], right
                after += 1
                right = min(right, self._common[after])

    def n_own(self, holder: int) -> int:
        """The tokens of a holder with which no other's text begins."""
        text = self._of.get(holder)
        if text is None:
            return 0
        at = bisect_left(self._texts, text)
        return len(text[1]) // _SIZE - max(self._common[at : at + 2])

    def _with(self, index: int, adapters: Adapters, text: bytes) -> int:
        """What the text at an index has in common with one."""
        if not 0 <= index < len(self._texts) or self._texts[index][0] != adapters:
            return 0
        return common_prefix(self._texts[index][1], text)
