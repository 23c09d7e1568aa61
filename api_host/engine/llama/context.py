"""A llama.cpp context and its batch: KV streams, decodes, and nothing else.

Memory is one KV stream a slot (``kv_unified`` off), so a slot always has its whole context and nobody attends over
another's idle cells. Knows nothing of requests, of sampling or of who uses which slot.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from typing import Any

import llama_cpp
import numpy as np

from api_host.engine.backend import DecodeFailed, Span
from api_host.engine.llama.model import LlamaModel, LoadError, recent_errors


class LlamaContext:
    """One llama.cpp context with ``n_slots`` KV streams of ``n_ctx`` tokens each; implements Backend.

    Args:
        model: stays alive as long as the context.
        n_ctx: tokens a slot; ``n_slots`` sequences run at once.
        n_batch: the most tokens in one decode.
        n_threads: threads of llama.cpp.

    Raises:
        LoadError: no memory for the KV cache or the compute buffers.
    """

    def __init__(self, model: LlamaModel, n_ctx: int, n_slots: int, n_batch: int, n_threads: int) -> None:
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = n_ctx * n_slots
        params.n_seq_max = n_slots
        params.n_batch = max(n_batch, n_slots)
        params.n_outputs_max = n_slots
        params.n_threads = params.n_threads_batch = n_threads
        params.kv_unified = False
        params.swa_full = False
        params.no_perf = True
        recent_errors.clear()
        self.pointer = llama_cpp.llama_init_from_model(model.pointer, params)
        if not self.pointer:
            raise LoadError(" ".join(recent_errors) or "llama.cpp could not make a context")
        self.model = model
        self.n_slots = n_slots
        self.n_ctx = int(llama_cpp.llama_n_ctx_seq(self.pointer))
        self.n_batch = int(llama_cpp.llama_n_batch(self.pointer))
        self.can_trim = not model.is_recurrent
        self._memory = llama_cpp.llama_get_memory(self.pointer)
        self._n_swa = model.n_swa
        self._make_batch()

    @property
    def makes_text(self) -> bool:
        """False for models that only embed (they have no memory of a sequence)."""
        return bool(self._memory)

    def _make_batch(self) -> None:
        room = self.n_batch
        self._token = np.zeros(room, np.int32)
        self._pos = np.zeros(room, np.int32)
        self._n_seq = np.ones(room, np.int32)
        self._seq = np.zeros(room, np.int32)
        self._seq_pointers = self._seq.ctypes.data + 4 * np.arange(room, dtype=np.uint64)
        self._logits = np.zeros(room, np.int8)
        self._positions = np.arange(self.n_ctx + 1, dtype=np.int32)

        self._batch = llama_cpp.llama_batch(
            token=_pointer(self._token, llama_cpp.llama_token),
            pos=_pointer(self._pos, llama_cpp.llama_pos),
            n_seq_id=_pointer(self._n_seq, ctypes.c_int32),
            seq_id=_pointer(self._seq_pointers, ctypes.POINTER(llama_cpp.llama_seq_id)),
            logits=_pointer(self._logits, ctypes.c_int8),
        )

    def decode(self, spans: Iterable[Span]) -> None:
        """One ``llama_decode``; ``span.row`` is then where its last token's logits are.

        llama.cpp puts sequences into one pass over the weights only when their ids ascend without a gap.

        Raises:
            DecodeFailed: llama.cpp's code is not 0; the cells of these slots are undefined.
        """
        n = 0
        self._logits[:] = 0
        for span in spans:
            end = n + len(span.tokens)
            self._token[n:end] = span.tokens
            self._pos[n:end] = self._positions[span.start : span.start + len(span.tokens)]
            self._seq[n:end] = span.slot
            if span.wants_logits:
                self._logits[end - 1] = 1
                span.row = end - 1
            n = end
        self._batch.n_tokens = n
        code = llama_cpp.llama_decode(self.pointer, self._batch)
        if code != 0:
            raise DecodeFailed(code)

    def clear(self, slot: int) -> None:
        llama_cpp.llama_memory_seq_rm(self._memory, slot, -1, -1)

    def trim(self, slot: int, length: int) -> int:
        """Keeps the first ``length`` cells of a slot where the model can; returns how many are kept, or 0."""
        if length > 0 and llama_cpp.llama_memory_seq_rm(self._memory, slot, length, -1):
            first = llama_cpp.llama_memory_seq_pos_min(self._memory, slot)
            if not self._n_swa or 0 <= first <= max(0, length - self._n_swa):
                return length
        self.clear(slot)
        return 0

    def copy(self, source: int, target: int, length: int) -> int:
        """Gives ``target`` the first ``length`` cells of ``source``; returns how many it has, or 0."""
        llama_cpp.llama_memory_seq_cp(self._memory, source, target, -1, -1)
        return self.trim(target, length)

    def close(self) -> None:
        if self.pointer:
            llama_cpp.llama_free(self.pointer)
            self.pointer = None


def _pointer(values: np.ndarray, kind: Any) -> Any:
    """A C pointer to an array's memory; the array must outlive it."""
    return ctypes.cast(values.ctypes.data, ctypes.POINTER(kind))
