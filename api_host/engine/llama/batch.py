"""A ``llama_batch`` over arrays that are made once, so that filling it costs microseconds."""

from __future__ import annotations

import ctypes
from array import array
from typing import Any

import llama_cpp


class TokenBatch:
    """At most ``room`` tokens, each of one sequence; positions are below ``n_ctx``.

    ``struct`` is what llama.cpp takes; it points into arrays that this object keeps alive.
    """

    def __init__(self, room: int, n_ctx: int) -> None:
        zeros = array("i", bytes(4 * room))
        self._arrays = token, pos, seq, n_seq = zeros[:], zeros[:], zeros[:], array("i", [1]) * room
        self._seq_pointers = array("Q", range(seq.buffer_info()[0], seq.buffer_info()[0] + 4 * room, 4))
        self._outputs = (ctypes.c_int8 * room)()
        self._wanted = memoryview(self._outputs).cast("B")
        # Views, because an array that has one is never moved, and a slice of a view is filled without a copy.
        self._token, self._pos, self._seq = memoryview(token), memoryview(pos), memoryview(seq)
        self._positions = memoryview(array("i", range(n_ctx + 1)))
        self.struct = llama_cpp.llama_batch(
            token=_pointer(token, llama_cpp.llama_token),
            pos=_pointer(pos, llama_cpp.llama_pos),
            n_seq_id=_pointer(n_seq, ctypes.c_int32),
            seq_id=_pointer(self._seq_pointers, ctypes.POINTER(llama_cpp.llama_seq_id)),
            logits=ctypes.cast(self._outputs, ctypes.POINTER(ctypes.c_int8)),
        )
        self._n_tokens = 0

    def clear(self) -> None:
        self.struct.n_tokens = self._n_tokens = 0

    def add(self, sequence: int, tokens: array[int], start: int, n_outputs: int) -> int:
        """Adds tokens of a sequence at positions from ``start`` on; returns the row of the first of its outputs."""
        begin, n_tokens = self._n_tokens, len(tokens)
        end = begin + n_tokens
        if n_tokens == 1:
            self._token[begin], self._pos[begin], self._seq[begin] = tokens[0], start, sequence
            self._wanted[begin] = n_outputs
        else:
            self._token[begin:end] = memoryview(tokens)
            self._pos[begin:end] = self._positions[start : start + n_tokens]
            self._seq[begin:end] = memoryview(array("i", [sequence]) * n_tokens)
            self._wanted[begin:end] = bytes(n_tokens - n_outputs) + b"\1" * n_outputs
        self.struct.n_tokens = self._n_tokens = end
        return end - n_outputs


def _pointer(values: array[int], kind: Any) -> Any:
    """A C pointer to an array's memory; the array must outlive it."""
    return ctypes.cast(values.buffer_info()[0], ctypes.POINTER(kind))
