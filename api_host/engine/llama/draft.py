"""A second, smaller model in a context of its own, which guesses tokens for the first; implements draft.DraftModel.

Knows nothing of how guesses are used.
"""

from __future__ import annotations

import numpy as np

from api_host.engine.llama.context import LlamaContext
from api_host.engine.llama.model import LlamaModel
from api_host.kv_cache import CacheType

# Models of one family round the size of their vocabulary differently: Qwen2.5's 7B has 128 unused tokens more than
# its 0.5B. llama.cpp's own speculative decoding allows as many.
MOST_PADDING = 128


class LlamaDraft(LlamaContext):
    """A context for as many sequences as that of the model it guesses for.

    Args:
        model: stays alive as long as the context. ``target``: the context whose text it goes on with.
        n_threads: threads of llama.cpp.
        cache_type: type of the KV cache's values.

    Raises:
        LoadError: no memory for the KV cache or the compute buffers.
    """

    def __init__(
        self, model: LlamaModel, target: LlamaContext, n_threads: int, cache_type: CacheType = "f16"
    ) -> None:
        n_ctx = min(target.n_ctx, model.n_ctx_train or target.n_ctx)
        super().__init__(model, n_ctx, target.n_slots, target.n_batch, n_threads, cache_type=cache_type)
        self._n_known = min(model.n_vocab, target.model.n_vocab)
        self._shifted = np.empty(self._n_known, np.float32)

    def likeliest(self, row: int) -> tuple[int, float]:
        """The likeliest token in a row of the last batch, and its probability."""
        logits = self.candidates.logits(self.pointer, row)[: self._n_known]
        token = int(logits.argmax())
        np.subtract(logits, logits[token], out=self._shifted)
        return token, 1 / float(np.exp(self._shifted, out=self._shifted).sum())

    def is_eog(self, token: int) -> bool:
        return self.model.is_eog(token)


def same_vocabulary(one: LlamaModel, other: LlamaModel) -> bool:
    """Whether a token is the same text for both models, and texts begin and end alike; unused tokens at the end of
    the larger vocabulary do not count."""
    if (one.bos, one.eos) != (other.bos, other.eos) or abs(one.n_vocab - other.n_vocab) > MOST_PADDING:
        return False
    shared = range(min(one.n_vocab, other.n_vocab))
    return all(one.token_text(token) == other.token_text(token) for token in shared)
