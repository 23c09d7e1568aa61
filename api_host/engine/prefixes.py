"""How far two texts of tokens are the same."""

from __future__ import annotations

from array import array


def common_prefix(a: array[int], b: array[int]) -> int:
    """The number of tokens with which both begin; compares halves as bytes, so thousands cost microseconds."""
    low, high = 0, min(len(a), len(b))
    left, right = memoryview(a), memoryview(b)
    while low < high:
        middle = (low + high + 1) // 2
        if left[low:middle] == right[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
