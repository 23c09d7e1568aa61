"""A llama.cpp context and its batch: KV streams, decodes, and nothing else.

Memory is one KV stream a slot (``kv_unified`` off), so a slot always has its whole context and nobody attends over
another's idle cells. Knows nothing of requests, of sampling or of who uses which slot.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from functools import cached_property, partial
from typing import Any

import llama_cpp
import numpy as np

from api_host.engine.backend import Adapters, DecodeFailed, Span, State
from api_host.engine.llama.adapters import LlamaAdapters
from api_host.engine.llama.batch import TokenBatch
from api_host.engine.llama.candidates import Candidates
from api_host.engine.llama.fillers import Fillers
from api_host.engine.llama.json_schema import JsonSchemas
from api_host.engine.llama.model import LlamaModel, LoadError, recent_errors
from api_host.engine.llama.shared_prefix import SharedPrefix, pointer_to
from api_host.engine.prefill import AT_ONCE, TILE
from api_host.engine.threads import Threads
from api_host.kv_cache import CacheType

_GGML_TYPES: dict[CacheType, int] = {
    "f16": llama_cpp.GGML_TYPE_F16,
    "q8_0": llama_cpp.GGML_TYPE_Q8_0,
    "q4_0": llama_cpp.GGML_TYPE_Q4_0,
}
# What a copy costs beside a prefill. On a GPU a few tokens more in a step cost next to nothing, and a copy is many
# calls. A CPU copies so many bytes a second, always a slot's whole stream, and each of its threads reads tokens at so
# many parameters a second.
GPU_COPIED = 16
COPIED_PER_S = 10e9
READ_PER_S = 30e9


class LlamaContext:
    """One llama.cpp context with ``n_slots`` KV streams of ``n_ctx`` tokens each; implements Backend.

    Args:
        model: stays alive as long as the context.
        n_ctx: tokens a slot; ``n_slots`` sequences run at once. llama.cpp makes its streams longer, a multiple of 256
            cells, but a model with learned positions knows none there.
        n_batch: the most tokens in one decode.
        n_threads: threads of llama.cpp; on a CPU fewer as long as other processes take its cores.
        cache_type: type of the KV cache's values.
        n_outputs: rows of logits that a slot may ask for in one decode.
        rope_freq_base: of the rotary positions; None is the model's own. ``rope_freq_scale`` likewise.

    Raises:
        LoadError: no memory for the KV cache or the compute buffers.
    """

    def __init__(
        self,
        model: LlamaModel,
        n_ctx: int,
        n_slots: int,
        n_batch: int,
        n_threads: int,
        cache_type: CacheType = "f16",
        n_outputs: int = 1,
        rope_freq_base: float | None = None,
        rope_freq_scale: float | None = None,
    ) -> None:
        params = _params(n_ctx * n_slots, n_slots, max(n_batch, n_slots * n_outputs), n_threads, cache_type)
        if model.n_gpu_layers < 0 or model.n_gpu_layers > model.n_layer:
            # All that is left for the CPU is to look up a token, which is sooner done than threads are woken for it.
            params.n_threads = 1
        params.n_outputs_max = n_slots * n_outputs
        params.rope_freq_base = rope_freq_base or 0.0
        params.rope_freq_scale = rope_freq_scale or 0.0
        recent_errors.clear()
        self.pointer = llama_cpp.llama_init_from_model(model.pointer, params)
        if not self.pointer:
            raise LoadError(" ".join(recent_errors) or "llama.cpp could not make a context")
        n_cells = int(llama_cpp.llama_n_ctx_seq(self.pointer))
        self.model, self.n_slots, self.n_ctx = model, n_slots, min(n_ctx, n_cells)
        self.n_batch = int(llama_cpp.llama_n_batch(self.pointer))
        self.can_trim, self.copying = not model.is_recurrent, False
        stream = model.kv_cache(cache_type).size(n_cells)
        self.min_copied = GPU_COPIED if model.n_gpu_layers else _cpu_copied(stream, model.n_params, n_threads)
        self._memory = llama_cpp.llama_get_memory(self.pointer)
        self._n_swa = model.n_swa
        self._batch = TokenBatch(self.n_batch, self.n_ctx)
        self.candidates = Candidates(model.n_vocab)
        self.adapters = LlamaAdapters(model)
        self._in_use: Adapters = ()
        self._fillers = Fillers(model, self._memory, n_slots, self.n_ctx)
        # Beside a GPU the threads of the CPU wait for it, and how busy they are says nothing.
        self._threads = Threads(1 if model.n_gpu_layers else n_threads)
        self._cache_type = cache_type
        self._shared = self._shared_prefix(params)

    def _shared_prefix(self, params: Any) -> SharedPrefix | None:
        """None on a GPU and wherever else it does not help, or a cell made in another context is another one."""
        model = self.model
        if not self.attends_in_tiles or self.n_slots == 1 or model.turns_by_context:
            return None
        make = partial(self._one_stream, params.rope_freq_base, params.rope_freq_scale)
        return SharedPrefix(
            self.pointer, self.n_slots, self.n_ctx, make, model.kv_cache(self._cache_type).size
        )

    @property
    def attends_in_tiles(self) -> bool:
        """On a CPU, with a cache of f16; where what is trimmed can be read again."""
        on_cpu = not self.model.n_gpu_layers and self._cache_type == "f16"
        return on_cpu and self.makes_text and self.can_trim and not self._n_swa

    @property
    def reads_together(self) -> bool:
        return self._shared is not None

    @property
    def makes_text(self) -> bool:
        """False for models that only embed (they have no memory of a sequence)."""
        return bool(self._memory)

    @cached_property
    def json_schemas(self) -> JsonSchemas:
        """What holds texts to a JSON schema; made when it is first asked for."""
        return JsonSchemas(self.model)

    def decode(self, spans: Iterable[Span], adapters: Adapters = ()) -> None:
        """One ``llama_decode`` with these adapters; ``span.row`` is where the first of its logits will be.

        Other slots may join in, with a token each that is taken away again.

        Raises:
            DecodeFailed: llama.cpp's code is not 0; the cells of these slots are undefined.
        """
        if adapters != self._in_use:
            self.adapters.use(self.pointer, adapters)
            self._in_use = adapters
        spans = list(spans)
        together = [] if adapters else self._together(spans)
        if len(together) < len(spans):
            slots = {span.slot for span in together}
            self._decode([span for span in spans if span.slot not in slots] if slots else spans)
        if together and self._shared is not None:
            self._shared.read(together, self._threads.n)

    def _together(self, spans: list[Span]) -> list[Span]:
        """Those to read behind one prefix; one of all is left to the decode of the slots that copies wait for."""
        shared = [span for span in spans if span.shared]
        if not shared or self._shared is None:
            return []
        if self.copying and len(shared) == len(spans):
            shared = shared[1:]
        enough = sum(len(span.tokens) for span in shared) >= TILE
        return shared if enough and self._shared.has_room(shared[0].start) else []

    def _decode(self, spans: list[Span]) -> None:
        batch = self._batch
        batch.clear()
        for span in self._fillers.join(spans):
            span.row = batch.add(span.slot, span.tokens, span.start, span.n_outputs)
        code = self._decode_batch()
        self.copying = False
        self._fillers.leave()
        if code != 0:
            raise DecodeFailed(code)

    def logits(self, row: int) -> np.ndarray:
        """The logits of a span's row, as llama.cpp left them; valid until the next decode."""
        if row < 0 and self._shared is not None:
            return self.candidates.logits(self._shared.pointer, ~row)
        return self.candidates.logits(self.pointer, row)

    def _one_stream(self, rope_freq_base: float, rope_freq_scale: float, n_cells: int) -> Any:
        """A context with one stream and a sequence more than there are slots; None without memory."""
        params = _params(n_cells, self.n_slots + 1, AT_ONCE, 1, "f16")
        params.kv_unified = True
        # Most groups are smaller, and half the buffers are made in half the time, while somebody waits.
        params.n_ubatch = AT_ONCE // 2
        params.n_outputs_max = self.n_slots + 1
        params.rope_freq_base, params.rope_freq_scale = rope_freq_base, rope_freq_scale
        return llama_cpp.llama_init_from_model(self.model.pointer, params)

    def _decode_batch(self) -> int:
        """What llama.cpp answers; the time that it takes tells how many threads it should have."""
        threads, batch = self._threads, self._batch.struct
        if threads.most == 1:
            return int(llama_cpp.llama_decode(self.pointer, batch))
        started, cpu_started = time.monotonic(), time.process_time()
        code = int(llama_cpp.llama_decode(self.pointer, batch))
        now = time.monotonic()
        if threads.observe(now, now - started, time.process_time() - cpu_started):
            llama_cpp.llama_set_n_threads(self.pointer, threads.n, threads.n)
        return code

    def wait(self) -> None:
        """Returns when the last decode is done: on a GPU it has only begun when ``decode`` returns.

        Samplers wait for it by themselves.
        """
        llama_cpp.llama_synchronize(self.pointer)

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
        """Gives ``target`` the first ``length`` cells of ``source``; returns how many it has, or 0.

        llama.cpp copies the cells' values at the beginning of the next decode (llama-kv-cache.cpp, seq_cp).
        """
        llama_cpp.llama_memory_seq_cp(self._memory, source, target, -1, -1)
        self.copying = True
        return self.trim(target, length)

    def state_size(self, slot: int) -> int:
        """Bytes of a slot's cells."""
        return int(llama_cpp.llama_state_seq_get_size(self.pointer, slot))

    def save(self, slot: int) -> State:
        """A slot's cells, in host memory."""
        size = self.state_size(slot)
        # Not ctypes' own, which is filled with zeros first.
        state = np.empty(size, np.uint8)
        written = llama_cpp.llama_state_seq_get_data(self.pointer, pointer_to(state), size, slot)
        assert written == size, f"llama.cpp wrote {written} of {size} bytes"
        return state

    def restore(self, slot: int, state: State) -> bool:
        """Gives an empty slot the cells that ``save`` has made; returns whether there was room for them."""
        assert isinstance(state, np.ndarray)
        return bool(llama_cpp.llama_state_seq_set_data(self.pointer, pointer_to(state), len(state), slot))

    def close(self) -> None:
        if self._shared is not None:
            self._shared.close()
        if self.pointer:
            llama_cpp.llama_free(self.pointer)
            self.pointer = None


def _cpu_copied(stream: int, n_params: int, n_threads: int) -> int:
    """How many tokens are read while a slot's stream, of so many bytes, is copied; and one more."""
    return 1 + math.ceil(stream / COPIED_PER_S * n_threads * READ_PER_S / max(1, n_params))


def _params(n_cells: int, n_slots: int, n_batch: int, n_threads: int, cache_type: CacheType) -> Any:
    params = llama_cpp.llama_context_default_params()
    params.n_ctx = n_cells
    params.n_seq_max = n_slots
    params.n_batch = n_batch
    params.n_threads = params.n_threads_batch = n_threads
    params.kv_unified = False
    params.type_k = params.type_v = _GGML_TYPES[cache_type]
    params.swa_full = False
    params.no_perf = True
    return params
