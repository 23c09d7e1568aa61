"""Slots that join a step with a token nobody reads, so that the others cost less.

llama.cpp computes sequences in one pass over the weights only as long as their ids ascend without a gap (its
``split_equal``, llama-batch.cpp). And weights that it has repacked for a CPU it multiplies by sixteen rows, then by
four, and what is left row by row (ggml-cpu/repack.cpp): fifteen take longer than sixteen.
"""

from __future__ import annotations

from array import array
from itertools import pairwise
from typing import Any

import llama_cpp

from api_host.engine.backend import Span
from api_host.engine.llama.model import LlamaModel

# A GPU reads the weights for a few rows as fast as for one. On a CPU a row costs about as much as what a pass has
# beside its rows.
GPU_GAP = 8
FEW_MISSING = 3
_ANY_TOKEN = array("i", [0])


class Fillers:
    """Those of one context, with ``n_slots`` streams of ``n_ctx`` cells in ``memory``."""

    def __init__(self, model: LlamaModel, memory: Any, n_slots: int, n_ctx: int) -> None:
        self._memory, self._n_slots, self._n_ctx = memory, n_slots, n_ctx
        self._on_gpu = model.n_gpu_layers != 0
        self._repacked = model.is_repacked
        # What cannot drop a token, or drops others for it, would lose what its other slots hold.
        self._possible = bool(memory) and not model.is_recurrent and not model.n_swa
        self._joined: list[tuple[int, int]] = []

    def join(self, spans: list[Span]) -> list[Span]:
        """The spans of a step, which ascend, and the fillers among them.

        None where a span has several tokens, or a filler no room for one; and on a CPU none that would attend to much
        more than the others.
        """
        few = 1 < len(spans) < self._n_slots
        if not self._possible or not few or any(len(span.tokens) > 1 for span in spans):
            return spans
        widest_gap = GPU_GAP if self._on_gpu else 0
        slots = chosen([span.slot for span in spans], self._n_slots, widest_gap, self._repacked)
        ends = [(slot, llama_cpp.llama_memory_seq_pos_max(self._memory, slot) + 1) for slot in slots]
        most = self._n_ctx if self._on_gpu else min(self._n_ctx, 2 * max(span.start for span in spans))
        if not ends or max(end for _, end in ends) >= most:
            return spans
        self._joined = ends
        return sorted(
            [*spans, *(Span(slot, _ANY_TOKEN, end) for slot, end in ends)], key=lambda span: span.slot
        )

    def leave(self) -> None:
        """Takes their tokens away again."""
        for slot, end in self._joined:
            llama_cpp.llama_memory_seq_rm(self._memory, slot, end, -1)
        self._joined = []


def chosen(slots: list[int], n_slots: int, widest_gap: int, repacked: bool) -> list[int]:
    """The slots to add to those of a step that decodes one token of each.

    Args:
        slots: they ascend.
        widest_gap: fill gaps of at most so many slots.
        repacked: add rows where that makes them a number that is computed faster.
    """
    added = [
        slot
        for before, after in pairwise(slots)
        if after - before <= widest_gap + 1
        for slot in range(before + 1, after)
    ]
    first, end, n_rows = slots[0], slots[-1] + 1, len(slots) + len(added)
    if not repacked or n_rows != end - first:
        return added
    n_more = _round_number(n_rows) - n_rows
    beside = [*range(end, n_slots), *reversed(range(first))]
    return added + beside[:n_more] if n_more <= len(beside) else added


def _round_number(n_rows: int) -> int:
    """So many rows or a few more, whichever takes less time."""
    missing = -n_rows % 16
    return n_rows + (missing if missing <= FEW_MISSING else n_rows % 4 == 3)
