"""Reads the ends of prompts behind one prefix together, on a CPU: in a llama.cpp context of its own beside the slots.

llama.cpp attends there tile by tile, at least three times as fast, where a stream has 64 tokens of a batch or more
(ggml's ops.cpp, flash_attn_ext). A slot is a stream, and the ends of prompts are often shorter. Here they are
sequences of one stream, behind one copy of the prefix; their cells go back to the slots as states. Knows nothing of
requests.
"""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Callable
from typing import Any

import llama_cpp
import numpy as np

from api_host.engine.backend import DecodeFailed, Span
from api_host.engine.llama.batch import TokenBatch
from api_host.engine.prefill import AT_ONCE
from api_host.free_memory import free_memory

# Cells are made so many at a time.
GRAIN = 256
# A state begins with a magic number and the sequence's id; then come the number of streams, and for each of them the
# number of its cells of the sequence, with the cells behind it (llama-kv-cache.cpp, state_write).
_HEAD, _NUMBER = 8, 4


class SharedPrefix:
    """A context with one copy of a prefix, made when it is first of use.

    Args:
        slots: the context whose streams are the slots, ``n_slots`` of them with at most ``n_ctx`` tokens each.
        make: a context of one stream with so many cells and a sequence more than there are slots; None without memory.
        size: bytes of so many cells.
    """

    def __init__(
        self, slots: Any, n_slots: int, n_ctx: int, make: Callable[[int], Any], size: Callable[[int], int]
    ) -> None:
        self._slots, self._n_slots = slots, n_slots
        self._make, self._size = make, size
        self._batch = TokenBatch(AT_ONCE, n_ctx)
        self._state = np.zeros(0, np.uint8)
        self._prefix = array("i")
        self._n_cells = 0
        self._usable = True
        self.pointer: Any = None

    def has_room(self, n_prefix: int) -> bool:
        """Whether ends behind so long a prefix can be read here; makes the context, where twice its memory is free."""
        n_cells = n_prefix + AT_ONCE
        if not self._usable or n_cells <= self._n_cells:
            return self._usable
        self.close()
        n_cells = -(-n_cells // GRAIN) * GRAIN
        if free_memory() > 2 * self._size(n_cells):
            self.pointer = self._make(n_cells)
        if not self.pointer:
            return False
        self._n_cells = n_cells
        self._memory = llama_cpp.llama_get_memory(self.pointer)
        return True

    def read(self, spans: list[Span], n_threads: int) -> None:
        """Reads these spans, for whose ``shared`` prefix there is room: ``~span.row`` is then a row of this context.

        Raises:
            DecodeFailed: the cells of these slots are undefined. It is not tried again.
        """
        try:
            self._read(spans, n_threads)
        except DecodeFailed:
            self._usable = False
            self.close()
            raise

    def _read(self, spans: list[Span], n_threads: int) -> None:
        assert spans[0].shared is not None
        self._hold(spans[0].shared, spans[0].slot)
        self._batch.clear()
        for number, span in enumerate(spans, 1):
            llama_cpp.llama_memory_seq_cp(self._memory, 0, number, -1, -1)
            span.row = ~self._batch.add(number, span.tokens, span.start, 1)
        llama_cpp.llama_set_n_threads(self.pointer, n_threads, n_threads)
        _check(llama_cpp.llama_decode(self.pointer, self._batch.struct) == 0)
        for number, span in enumerate(spans, 1):
            self._give_back(number, span.slot)
            llama_cpp.llama_memory_seq_rm(self._memory, number, -1, -1)

    def _hold(self, prefix: array[int], slot: int) -> None:
        """Gives sequence 0 the cells of the prefix, if it has not got them: those of a slot that has no others."""
        if prefix == self._prefix:
            return
        llama_cpp.llama_memory_clear(self._memory, False)
        self._prefix = array("i")
        size = int(llama_cpp.llama_state_seq_get_size(self._slots, slot))
        state = self._bytes(size)
        llama_cpp.llama_state_seq_get_data(self._slots, pointer_to(state), size, slot)
        before = _NUMBER * slot
        after = _NUMBER * (self._n_slots - 1 - slot)
        one_stream = state[before : size - after]
        one_stream[:_HEAD] = state[:_HEAD].copy()
        one_stream[_HEAD : _HEAD + _NUMBER].view(np.uint32)[0] = 1
        _check(llama_cpp.llama_state_seq_set_data(self.pointer, pointer_to(one_stream), len(one_stream), 0))
        self._prefix = prefix[:]

    def _give_back(self, number: int, slot: int) -> None:
        """Gives a slot the cells of a sequence, prefix and end."""
        size = int(llama_cpp.llama_state_seq_get_size(self.pointer, number))
        others = _NUMBER * (self._n_slots - 1)
        state = self._bytes(size + others)
        llama_cpp.llama_state_seq_get_data(self.pointer, pointer_to(state), size, number)
        state[_HEAD : _HEAD + _NUMBER].view(np.uint32)[0] = self._n_slots
        state[size:] = 0
        _check(llama_cpp.llama_state_seq_set_data(self._slots, pointer_to(state), len(state), slot))

    def _bytes(self, size: int) -> np.ndarray:
        """Memory for a state, the same each time."""
        if size > len(self._state):
            self._state = np.empty(size, np.uint8)
        return self._state[:size]

    def close(self) -> None:
        self._state = np.zeros(0, np.uint8)
        if self.pointer:
            llama_cpp.llama_free(self.pointer)
            self.pointer, self._n_cells, self._prefix = None, 0, array("i")


def _check(done: object) -> None:
    if not done:
        raise DecodeFailed(-1)


def pointer_to(state: np.ndarray) -> Any:
    """A C pointer to an array's bytes."""
    return ctypes.cast(state.ctypes.data, ctypes.POINTER(ctypes.c_uint8))
