"""A llama.cpp context that turns texts into vectors, beside the one that generates and without touching its cells.

Knows nothing of requests or of text: token arrays in, float32 vectors out.
"""

from __future__ import annotations

from array import array

import llama_cpp
import numpy as np

from api_host.engine.backend import DecodeFailed
from api_host.engine.llama.batch import TokenBatch
from api_host.engine.llama.model import LlamaModel, LoadError, recent_errors

MAX_TOKENS = 2048
MAX_TEXTS = 32
_MEAN, _RANK = 1, 4


class LlamaEmbedder:
    """Pools as the GGUF says (mean, CLS, last token); a generation model's states are averaged.

    Args:
        model: stays alive as long as the embedder.
        n_threads: threads of llama.cpp.

    ``n_ctx`` is the longest text and the largest batch, in tokens: what the model was trained for, at most 2048.

    Raises:
        LoadError: no memory, or a model that ranks instead of embedding.
    """

    def __init__(self, model: LlamaModel, n_threads: int) -> None:
        params = llama_cpp.llama_context_default_params()
        self.n_ctx = min(MAX_TOKENS, model.n_ctx_train or MAX_TOKENS)
        # Without a causal mask a text must be read in one piece, so the three sizes are one.
        params.n_ctx = params.n_batch = params.n_ubatch = self.n_ctx
        params.n_seq_max = MAX_TEXTS
        params.n_threads = params.n_threads_batch = n_threads
        params.kv_unified = True
        params.embeddings = True
        params.no_perf = True
        if not int(model.metadata.get(f"{model.architecture}.pooling_type", "0") or 0):
            params.pooling_type = _MEAN
        recent_errors.clear()
        self._context = llama_cpp.llama_init_from_model(model.pointer, params)
        if not self._context:
            raise LoadError(" ".join(recent_errors) or "llama.cpp could not make a context for embeddings")
        if llama_cpp.llama_pooling_type(self._context) == _RANK:
            raise LoadError("this model ranks pairs of texts; it makes no embeddings")
        self._width = llama_cpp.llama_model_n_embd_out(model.pointer)
        self._batch = TokenBatch(self.n_ctx, self.n_ctx)

    def embed(self, texts: list[array[int]]) -> list[np.ndarray]:
        """One vector of length 1 (L2) for each text; at most MAX_TEXTS texts with ``n_ctx`` tokens in all.

        Raises:
            DecodeFailed: llama.cpp's code is not 0.
        """
        memory = llama_cpp.llama_get_memory(self._context)
        if memory:
            llama_cpp.llama_memory_clear(memory, False)
        self._batch.clear()
        for sequence, tokens in enumerate(texts):
            self._batch.add(sequence, tokens, 0, n_outputs=len(tokens))
        code = llama_cpp.llama_decode(self._context, self._batch.struct)
        if code != 0:
            raise DecodeFailed(code)
        return [self._vector(sequence) for sequence in range(len(texts))]

    def _vector(self, sequence: int) -> np.ndarray:
        pointer = llama_cpp.llama_get_embeddings_seq(self._context, sequence)
        vector = np.ctypeslib.as_array(pointer, (self._width,)).copy()
        length = float(np.linalg.norm(vector))
        return vector / length if length > 0 else vector

    def close(self) -> None:
        if self._context:
            llama_cpp.llama_free(self._context)
            self._context = None
