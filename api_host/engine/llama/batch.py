"""A ``llama_batch`` over numpy arrays that are made once, so that filling it costs microseconds."""

from __future__ import annotations

import ctypes
from array import array
from typing import Any

import llama_cpp
import numpy as np


class TokenBatch:
    """At most ``room`` tokens, each of one sequence; positions are below ``n_ctx``.

    ``struct`` is what llama.cpp takes; it points into arrays that this object keeps alive.
    """

    def __init__(self, room: int, n_ctx: int) -> None:
        self._token = np.zeros(room, np.int32)
        self._pos = np.zeros(room, np.int32)
        self._n_seq = np.ones(room, np.int32)
        self._seq = np.zeros(room, np.int32)
        self._seq_pointers = self._seq.ctypes.data + 4 * np.arange(room, dtype=np.uint64)
        self._outputs = np.zeros(room, np.int8)
        self._positions = np.arange(n_ctx + 1, dtype=np.int32)
        self.struct = llama_cpp.llama_batch(
            token=_pointer(self._token, llama_cpp.llama_token),
            pos=_pointer(self._pos, llama_cpp.llama_pos),
            n_seq_id=_pointer(self._n_seq, ctypes.c_int32),
            seq_id=_pointer(self._seq_pointers, ctypes.POINTER(llama_cpp.llama_seq_id)),
            logits=_pointer(self._outputs, ctypes.c_int8),
        )

    def clear(self) -> None:
        self._outputs[: self.struct.n_tokens] = 0
        self.struct.n_tokens = 0

    def add(self, sequence: int, tokens: array[int], start: int) -> int:
        """Adds tokens of a sequence at positions from ``start`` on; returns the row behind the last one."""
        begin = self.struct.n_tokens
        end = begin + len(tokens)
        self._token[begin:end] = tokens
        self._pos[begin:end] = self._positions[start : start + len(tokens)]
        self._seq[begin:end] = sequence
        self.struct.n_tokens = end
        return end

    def want_outputs(self, begin: int, end: int) -> None:
        self._outputs[begin:end] = 1


def _pointer(values: np.ndarray, kind: Any) -> Any:
    """A C pointer to an array's memory; the array must outlive it."""
    return ctypes.cast(values.ctypes.data, ctypes.POINTER(kind))
