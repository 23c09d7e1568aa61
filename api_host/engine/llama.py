"""Owns llama.cpp's model, context and batch, and everything of the bindings that is a pointer.

Knows nothing of requests, of sampling (sampler.py) or of who uses which slot. Memory is one KV stream a slot
(``kv_unified`` off), so a slot always has its whole context and nobody attends over another's idle cells.
"""

from __future__ import annotations

import ctypes
import sys
from array import array
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import llama_cpp
import numpy as np
from llama_cpp import _ggml

from api_host.engine.backend import DecodeFailed, Span

_GGML_LOG_WARN, _GGML_LOG_ERROR = 3, 4  # the bindings' own table of levels is older than ggml's
_GGML_DEVICE_TYPE_GPU = 1

recent_errors: deque[str] = deque(maxlen=8)


@llama_cpp.llama_log_callback  # type: ignore[untyped-decorator]
def _keep_log(level: int, text: bytes | None, _user_data: object) -> None:
    line = (text or b"").decode("utf-8", "replace")
    if level == _GGML_LOG_ERROR:
        recent_errors.append(line.strip())
    if level in (_GGML_LOG_WARN, _GGML_LOG_ERROR):
        sys.stderr.write(line)
        sys.stderr.flush()


llama_cpp.llama_log_set(_keep_log, ctypes.c_void_p(0))


class LoadError(Exception):
    """llama.cpp answered NULL; the text is the last of its error lines."""


@dataclass(frozen=True)
class Device:
    """A GPU as ggml sees it; memory in bytes."""

    name: str
    description: str
    free: int
    total: int


def gpu_devices() -> list[Device]:
    """The GPUs that this build of llama.cpp can use; empty for a CPU-only build."""
    ggml = _ggml.libggml
    ggml.ggml_backend_dev_count.restype = ctypes.c_size_t
    ggml.ggml_backend_dev_get.restype = ctypes.c_void_p
    ggml.ggml_backend_dev_get.argtypes = [ctypes.c_size_t]
    ggml.ggml_backend_dev_type.argtypes = [ctypes.c_void_p]
    for text in (ggml.ggml_backend_dev_name, ggml.ggml_backend_dev_description):
        text.restype, text.argtypes = ctypes.c_char_p, [ctypes.c_void_p]
    ggml.ggml_backend_dev_memory.restype = None
    ggml.ggml_backend_dev_memory.argtypes = [ctypes.c_void_p, *[ctypes.POINTER(ctypes.c_size_t)] * 2]
    devices = []
    for i in range(ggml.ggml_backend_dev_count()):
        device = ggml.ggml_backend_dev_get(i)
        if ggml.ggml_backend_dev_type(device) != _GGML_DEVICE_TYPE_GPU:
            continue
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        ggml.ggml_backend_dev_memory(device, ctypes.byref(free), ctypes.byref(total))
        name = ggml.ggml_backend_dev_name(device).decode()
        description = ggml.ggml_backend_dev_description(device).decode()
        devices.append(Device(name, description, free.value, total.value))
    return devices


def supports_gpu() -> bool:
    """Whether this build of llama.cpp can put layers on a GPU."""
    return bool(llama_cpp.llama_supports_gpu_offload())


class LlamaModel:
    """The weights and the vocabulary of one GGUF.

    Args:
        path: the GGUF, or the first part of a split one.
        n_gpu_layers: layers on the GPU; -1 is all of them.
        vocab_only: read metadata and vocabulary, no weights (milliseconds).

    Raises:
        LoadError: llama.cpp refused the file; some bad files make it abort the process instead.
    """

    def __init__(self, path: str, n_gpu_layers: int = 0, vocab_only: bool = False) -> None:
        llama_cpp.llama_backend_init()
        params = llama_cpp.llama_model_default_params()
        params.n_gpu_layers = n_gpu_layers
        params.vocab_only = vocab_only
        recent_errors.clear()
        self.pointer = llama_cpp.llama_model_load_from_file(path.encode(), params)
        if not self.pointer:
            raise LoadError(" ".join(recent_errors) or "llama.cpp gave no reason")
        self._vocab = llama_cpp.llama_model_get_vocab(self.pointer)
        self._pieces: dict[int, bytes] = {}
        self.metadata = self._read_metadata()
        self.n_vocab: int = llama_cpp.llama_vocab_n_tokens(self._vocab)
        self.bos: int = llama_cpp.llama_vocab_bos(self._vocab)
        self.eos: int = llama_cpp.llama_vocab_eos(self._vocab)

    def close(self) -> None:
        if self.pointer:
            llama_cpp.llama_model_free(self.pointer)
            self.pointer = None

    def _read_metadata(self) -> dict[str, str]:
        def text(read: object, index: int, size: int = 256) -> str:
            buffer = ctypes.create_string_buffer(size)
            length = read(self.pointer, index, buffer, size)  # type: ignore[operator]
            if length >= size:
                return text(read, index, length + 1)
            return buffer.value.decode("utf-8", "replace")

        return {
            text(llama_cpp.llama_model_meta_key_by_index, i): text(
                llama_cpp.llama_model_meta_val_str_by_index, i
            )
            for i in range(llama_cpp.llama_model_meta_count(self.pointer))
        }

    @property
    def architecture(self) -> str:
        return self.metadata.get("general.architecture", "unknown")

    @property
    def description(self) -> str:
        buffer = ctypes.create_string_buffer(256)
        llama_cpp.llama_model_desc(self.pointer, buffer, 256)
        return buffer.value.decode("utf-8", "replace")

    @property
    def size(self) -> int:
        """Bytes of all tensors."""
        return int(llama_cpp.llama_model_size(self.pointer))

    @property
    def n_params(self) -> int:
        return int(llama_cpp.llama_model_n_params(self.pointer))

    @property
    def n_layer(self) -> int:
        return int(llama_cpp.llama_model_n_layer(self.pointer))

    @property
    def n_ctx_train(self) -> int:
        return int(llama_cpp.llama_model_n_ctx_train(self.pointer))

    @property
    def n_swa(self) -> int:
        return int(llama_cpp.llama_model_n_swa(self.pointer))

    @property
    def has_encoder(self) -> bool:
        return bool(llama_cpp.llama_model_has_encoder(self.pointer))

    @property
    def is_recurrent(self) -> bool:
        """Whether part of a sequence is a running state, of which no end can be dropped."""
        model = self.pointer
        return bool(llama_cpp.llama_model_is_recurrent(model) or llama_cpp.llama_model_is_hybrid(model))

    @property
    def chat_template(self) -> str | None:
        template = llama_cpp.llama_model_chat_template(self.pointer, None)
        return template.decode("utf-8", "replace") if template else None

    @cached_property
    def eog_tokens(self) -> list[int]:
        return [token for token in range(self.n_vocab) if self.is_eog(token)]

    def is_eog(self, token: int) -> bool:
        return bool(llama_cpp.llama_vocab_is_eog(self._vocab, token))

    def token_text(self, token: int) -> str:
        """The token as the vocabulary writes it, control tokens included; "" for none (-1)."""
        if token < 0:
            return ""
        return llama_cpp.llama_vocab_get_text(self._vocab, token).decode("utf-8", "replace")  # type: ignore[no-any-return]

    def tokenize(self, text: str, add_special: bool, parse_special: bool = True) -> array[int]:
        """The tokens of ``text``; ``add_special`` adds BOS/EOS as the model wants them."""
        data = text.encode("utf-8", "replace")
        room = len(data) + 8
        tokens = (llama_cpp.llama_token * room)()
        count = llama_cpp.llama_tokenize(
            self._vocab, data, len(data), tokens, room, add_special, parse_special
        )
        if count < 0:
            raise ValueError(f"llama.cpp could not tokenize a text of {len(data)} bytes")
        return array("i", memoryview(tokens).cast("B").cast("i")[:count])

    def piece(self, token: int) -> bytes:
        """The bytes of a token as text; control tokens are empty."""
        cached = self._pieces.get(token)
        if cached is not None:
            return cached
        buffer = ctypes.create_string_buffer(256)
        length = llama_cpp.llama_token_to_piece(self._vocab, token, buffer, 256, 0, False)
        if length < 0:
            buffer = ctypes.create_string_buffer(-length)
            length = llama_cpp.llama_token_to_piece(self._vocab, token, buffer, -length, 0, False)
        self._pieces[token] = piece = buffer.raw[:length]
        return piece


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

        def pointer(values: np.ndarray, field: str) -> object:
            kind = dict(llama_cpp.llama_batch._fields_)[field]
            return ctypes.cast(values.ctypes.data, kind)

        self._batch = llama_cpp.llama_batch(
            token=pointer(self._token, "token"),
            pos=pointer(self._pos, "pos"),
            n_seq_id=pointer(self._n_seq, "n_seq_id"),
            seq_id=pointer(self._seq_pointers, "seq_id"),
            logits=pointer(self._logits, "logits"),
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
