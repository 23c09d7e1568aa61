"""A llama.cpp context that turns texts into vectors, beside the one that generates and without touching its cells.

Knows nothing of requests or of text: token arrays in, float32 vectors out.
"""

from __future__ import annotations

import math
from array import array

import llama_cpp
import numpy as np

from api_host.engine.backend import DecodeFailed
from api_host.engine.llama.batch import TokenBatch
from api_host.engine.llama.model import LlamaModel, LoadError, recent_errors
from api_host.errors import InvalidRequest

MAX_TOKENS = 2048
MAX_TEXTS = 32
_MEAN = llama_cpp.LLAMA_POOLING_TYPE_MEAN
# As a header writes the ways that make one vector of a text: mean, CLS, last token.
_POOLING = ("1", "2", "3")
_RANK = "4"


class LlamaEmbedder:
    """Pools as the GGUF says (mean, CLS, last token); a generation model's states are averaged.

    Args:
        model: stays alive as long as the embedder.
        n_threads: threads of llama.cpp.
        rope_freq_base: of the rotary positions; None is the model's own. ``rope_freq_scale`` likewise.

    ``n_ctx`` is the longest text and the largest batch, in tokens: what the model was trained for, at most 2048.

    Raises:
        InvalidRequest: the model ranks instead of embedding. LoadError: no memory.
    """

    def __init__(
        self,
        model: LlamaModel,
        n_threads: int,
        rope_freq_base: float | None = None,
        rope_freq_scale: float | None = None,
    ) -> None:
        params = llama_cpp.llama_context_default_params()
        params.pooling_type = _pooling_type(model)
        self.n_ctx = min(MAX_TOKENS, model.n_ctx_train or MAX_TOKENS)
        # Without a causal mask a text must be read in one piece, so the three sizes are one. llama.cpp plans its memory
        # with as many tokens in each sequence, and does not survive a size where that leaves a rest.
        params.n_ctx = params.n_batch = params.n_ubatch = -(-self.n_ctx // MAX_TEXTS) * MAX_TEXTS
        params.n_seq_max = MAX_TEXTS
        params.n_threads = params.n_threads_batch = n_threads
        params.kv_unified = True
        params.embeddings = True
        params.no_perf = True
        params.rope_freq_base = rope_freq_base or 0.0
        params.rope_freq_scale = rope_freq_scale or 0.0
        recent_errors.clear()
        self._context = llama_cpp.llama_init_from_model(model.pointer, params)
        if not self._context:
            raise LoadError(" ".join(recent_errors) or "llama.cpp could not make a context for embeddings")
        self._width = llama_cpp.llama_model_n_embd_out(model.pointer)
        self._batch = TokenBatch(self.n_ctx, self.n_ctx)
        self._spoiled = False

    def embed(self, texts: list[array[int]]) -> list[np.ndarray | None]:
        """One vector of length 1 (L2) for each text; at most MAX_TEXTS texts with ``n_ctx`` tokens in all.

        None for a vector that is no numbers: attention multiplies what one text has led to by 0 for the others, which
        leaves no numbers of theirs either.

        Raises:
            DecodeFailed: llama.cpp's code is not 0.
        """
        memory = llama_cpp.llama_get_memory(self._context)
        if memory:
            # A running state is cleared by a multiplication too.
            llama_cpp.llama_memory_clear(memory, self._spoiled)
        self._batch.clear()
        for sequence, tokens in enumerate(texts):
            self._batch.add(sequence, tokens, 0, n_outputs=len(tokens))
        code = llama_cpp.llama_decode(self._context, self._batch.struct)
        if code != 0:
            raise DecodeFailed(code)
        vectors = [self._vector(sequence) for sequence in range(len(texts))]
        self._spoiled = any(vector is None for vector in vectors)
        return vectors

    def _vector(self, sequence: int) -> np.ndarray | None:
        pointer = llama_cpp.llama_get_embeddings_seq(self._context, sequence)
        vector = np.ctypeslib.as_array(pointer, (self._width,)).copy()
        length = float(np.linalg.norm(vector))
        if not math.isfinite(length):
            return None
        return vector / length if length > 0 else vector

    def close(self) -> None:
        if self._context:
            llama_cpp.llama_free(self._context)
            self._context = None


def _pooling_type(model: LlamaModel) -> int:
    """As the header says, or the mean where that is no way to make one vector of a text."""
    named = model.metadata.get(f"{model.architecture}.pooling_type")
    if named == _RANK:
        raise InvalidRequest("model: it cannot embed: this model ranks pairs of texts; ask another model")
    return int(named) if named in _POOLING else _MEAN
