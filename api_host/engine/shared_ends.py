"""Which prompts of a step are short ends behind one prefix, so that a backend may read them together.

Knows sequences and their spans; decodes nothing.
"""

from __future__ import annotations

from array import array

from api_host.engine.backend import Span
from api_host.engine.prefill import AT_ONCE, TILE
from api_host.engine.sequence import Sequence

# A shorter prefix is attended to in no time, and the cells of a shorter end take longer to move than is saved by it.
LEAST_PREFIX = 256
LEAST_END = 8
# Tokens that a prompt may have in common with some others beyond the prefix, and that are read again with its end.
READ_AGAIN = 16


def behind_one_prefix(spans: dict[Sequence, Span]) -> tuple[int, list[Sequence]]:
    """The length of a prefix, and the sequences whose ends behind it are the most tokens; none if they fill no tile."""
    ends = [sequence for sequence, span in spans.items() if _is_end(span)]
    best: list[Sequence] = []
    length = 0
    for first in ends if len(ends) > 1 else ():
        group = _behind(first.tokens[: first.n_computed], ends)
        if _n_tokens(group, first.n_computed) > _n_tokens(best, length):
            best, length = group, first.n_computed
    return (length, best) if len(best) > 1 and _n_tokens(best, length) >= TILE else (0, [])


def _is_end(span: Span) -> bool:
    return span.n_outputs == 1 and LEAST_END <= len(span.tokens) < TILE and span.start >= LEAST_PREFIX


def _behind(prefix: array[int], ends: list[Sequence]) -> list[Sequence]:
    """Those that hold this prefix and little else, as many as are read at once."""
    group: list[Sequence] = []
    left = AT_ONCE
    for sequence in ends:
        beyond, n_end = sequence.n_computed - len(prefix), len(sequence.tokens) - len(prefix)
        if 0 <= beyond <= READ_AGAIN and n_end <= left and sequence.tokens[: len(prefix)] == prefix:
            group.append(sequence)
            left -= n_end
    return group


def _n_tokens(group: list[Sequence], start: int) -> int:
    return sum(len(sequence.tokens) - start for sequence in group)
