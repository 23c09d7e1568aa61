"""The tokens that may come next, as llama.cpp's samplers take them: filled from a row of logits, cut down by rules.

Made once a context; knows nothing of sequences.
"""

from __future__ import annotations

import ctypes
from typing import Any

import llama_cpp
import numpy as np

_ENTRY = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])


# The bindings' own gives a pointer of ctypes, which costs ten times as much to turn into an array.
_logits_address = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int32)(
    ctypes.cast(llama_cpp.llama_get_logits_ith, ctypes.c_void_p).value or 0
)


class Candidates:
    """A ``llama_token_data_array`` over the whole vocabulary."""

    def __init__(self, n_vocab: int) -> None:
        self._n_vocab = n_vocab
        self._entries = np.zeros(n_vocab, _ENTRY)
        self._ids = np.arange(n_vocab, dtype=np.int32)
        self._data = ctypes.cast(self._entries.ctypes.data, llama_cpp.llama_token_data_p)
        self.struct = llama_cpp.llama_token_data_array()
        self._rows: dict[int, np.ndarray] = {}

    def logits(self, context: object, row: int) -> np.ndarray:
        """The logits of a batch row, as llama.cpp left them; valid until the next decode."""
        address = _logits_address(context, row)
        logits = self._rows.get(address)
        if logits is None:
            # llama.cpp moves its buffer only when it grows: there are few addresses.
            pointer = ctypes.cast(address, ctypes.POINTER(ctypes.c_float))
            self._rows[address] = logits = np.ctypeslib.as_array(pointer, (self._n_vocab,))
        return logits

    def fill(self, logits: np.ndarray, ids: np.ndarray | None = None) -> None:
        """The tokens of ``ids``, or all of them, with their logits of a row."""
        n = self._n_vocab if ids is None else len(ids)
        entries = self._entries[:n]
        entries["id"] = self._ids if ids is None else ids
        entries["logit"] = logits if ids is None else logits[ids]
        self._reset(self._data, n)

    @property
    def row(self) -> np.ndarray:
        """The logits of all tokens, as ``fill`` and rules have left them; a sampler that sorts takes their order."""
        return np.ascontiguousarray(self._entries["logit"])

    def only(self, token: int) -> ctypes.Array:
        """One token alone, to be judged by a sampler; returns the memory to read the verdict from."""
        single = (llama_cpp.llama_token_data * 1)()
        single[0] = llama_cpp.llama_token_data(token, 1.0, 0.0)
        self._reset(ctypes.cast(single, llama_cpp.llama_token_data_p), 1)
        return single

    @property
    def selected(self) -> int:
        """The token that the last sampler of a chain has drawn."""
        return int(self.struct.data[self.struct.selected].id)

    def _reset(self, data: Any, size: int) -> None:
        self.struct.data, self.struct.size = data, size
        self.struct.selected, self.struct.sorted = -1, False
