"""The weights and the vocabulary of one GGUF, and what llama.cpp logs about them.

Knows nothing of contexts, slots or requests.
"""

from __future__ import annotations

import ctypes
import re
import sys
from array import array
from collections import deque
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import llama_cpp

from api_host.engine.llama.tokenizer import Tokenizer
from api_host.engine.messages import Load
from api_host.gguf_header import NotGguf, read_header
from api_host.kv_cache import CacheType, KvCache, kv_cache

# ggml's levels; the bindings' own table of them is out of date.
_LOG_WARN, _LOG_ERROR = 3, 4

# By whether the file is mapped, and whether it is locked into memory.
_LOAD_MODES = {
    (False, False): llama_cpp.LLAMA_LOAD_MODE_NONE,
    (True, False): llama_cpp.LLAMA_LOAD_MODE_MMAP,
    (False, True): llama_cpp.LLAMA_LOAD_MODE_MLOCK,
    (True, True): llama_cpp.LLAMA_LOAD_MODE_MMAP_MLOCK,
}

# What it says of weights that it has rearranged for the CPU's instructions.
_REPACKED = re.compile(r"CPU_REPACK model buffer size = +([\d.]+) MiB")

recent_errors: deque[str] = deque(maxlen=8)
_repacked_mib: list[float] = []


@llama_cpp.llama_log_callback
def _keep_log(level: int, text: bytes | None, _user_data: object) -> None:
    line = (text or b"").decode("utf-8", "replace")
    if level == _LOG_ERROR:
        recent_errors.append(line.strip())
    elif (repacked := _REPACKED.search(line)) is not None:
        _repacked_mib.append(float(repacked[1]))
    if level in (_LOG_WARN, _LOG_ERROR):
        sys.stderr.write(line)
        sys.stderr.flush()


llama_cpp.llama_log_set(_keep_log, ctypes.c_void_p(0))


class LoadError(Exception):
    """llama.cpp answered NULL; the text is the last of its error lines."""


class LlamaModel:
    """The weights and the vocabulary of one GGUF.

    Args:
        path: the GGUF, or the first part of a split one.
        load: whether its weights are locked into memory, and on which GPUs they are; None is llama.cpp's own way.
        use_mmap: whether they are mapped into memory instead of read.
        n_gpu_layers: layers on the GPU; -1 is all of them.

    Raises:
        LoadError: llama.cpp refused the file; some bad files make it abort the process instead.
    """

    def __init__(
        self, path: str, load: Load | None = None, n_gpu_layers: int = 0, use_mmap: bool = True
    ) -> None:
        llama_cpp.llama_backend_init()
        params = llama_cpp.llama_model_default_params()
        params.n_gpu_layers = self.n_gpu_layers = n_gpu_layers
        params.load_mode = _LOAD_MODES[use_mmap, load is not None and load.use_mlock]
        if n_gpu_layers == 0:
            # llama.cpp computes large batches on a GPU all the same, and takes memory there, unless it has none.
            none = (ctypes.c_void_p * 1)(None)
            params.devices = ctypes.cast(none, ctypes.c_void_p)
        elif load is not None and load.main_gpu is not None:
            params.split_mode, params.main_gpu = llama_cpp.LLAMA_SPLIT_MODE_NONE, load.main_gpu
        elif load is not None and load.tensor_split is not None:
            # llama.cpp keeps the pointer while it loads, and reads as many shares as there may be devices.
            shares = (ctypes.c_float * llama_cpp.LLAMA_MAX_DEVICES)(*load.tensor_split)
            params.tensor_split = shares
        self._path = Path(path)
        recent_errors.clear()
        _repacked_mib.clear()
        self.pointer = llama_cpp.llama_model_load_from_file(path.encode(), params)
        if not self.pointer:
            raise LoadError(" ".join(recent_errors) or "llama.cpp gave no reason")
        # Whether that is the most of them.
        self.is_repacked = 2 * sum(_repacked_mib) * 1024**2 > self.size
        self.vocab = llama_cpp.llama_model_get_vocab(self.pointer)
        self._tokenizer = Tokenizer(self.vocab)
        self._pieces: dict[tuple[int, bool], bytes] = {}
        self._ends: dict[int, bool] = {}
        self.metadata = self._read_metadata()
        self.n_vocab: int = llama_cpp.llama_vocab_n_tokens(self.vocab)
        self.bos: int = llama_cpp.llama_vocab_bos(self.vocab)
        self.eos: int = llama_cpp.llama_vocab_eos(self.vocab)

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
        """Tokens; where the file says more than llama.cpp's number can (it comes out negative), as many as it can."""
        n_ctx = int(llama_cpp.llama_model_n_ctx_train(self.pointer))
        return n_ctx if n_ctx >= 0 else 2**31 - 1

    @property
    def n_swa(self) -> int:
        return int(llama_cpp.llama_model_n_swa(self.pointer))

    @property
    def turns_by_context(self) -> bool:
        """Whether its rotary factors may depend on how long a context is (llama-model.cpp, get_rope_factors)."""
        return f"{self.architecture}.rope.scaling.original_context_length" in self.metadata

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

    def kv_cache(self, cache_type: CacheType) -> KvCache:
        """What its KV cache takes, by the file's header (llama.cpp does not tell of lists in it); nothing where it
        cannot be read."""
        try:
            return kv_cache(read_header(self._path), cache_type)
        except (NotGguf, OSError):
            return KvCache()

    @cached_property
    def eog_tokens(self) -> list[int]:
        return [token for token in range(self.n_vocab) if self.is_eog(token)]

    def is_eog(self, token: int) -> bool:
        known = self._ends.get(token)
        if known is None:
            self._ends[token] = known = bool(llama_cpp.llama_vocab_is_eog(self.vocab, token))
        return known

    def token_text(self, token: int) -> str:
        """The token as the vocabulary writes it, control tokens included; "" for none (-1)."""
        if token < 0:
            return ""
        text: bytes = llama_cpp.llama_vocab_get_text(self.vocab, token)
        return text.decode("utf-8", "replace")

    def tokenize(self, text: str, add_special: bool, parse_special: bool = True) -> array[int]:
        """The tokens of ``text``; ``add_special`` adds BOS/EOS as the model wants them."""
        return self._tokenizer.tokens(text, add_special, parse_special)

    def read_ahead(self, text: str) -> Iterator[int]:
        """Reads a text with which prompts will begin, a piece each time (``Tokenizer.read_ahead``)."""
        return self._tokenizer.read_ahead(text)

    def fewest_tokens(self, text: str) -> int:
        """The fewest tokens that a text can have, without reading it: 0 where nothing is known."""
        return self._tokenizer.fewest(text)

    def text(self, tokens: array[int]) -> str:
        """What the tokens spell, control tokens included."""
        return b"".join(self.piece(token, show_control=True) for token in tokens).decode("utf-8", "replace")

    @property
    def infill_tokens(self) -> tuple[int, int, int] | None:
        """What stands before the text, before what follows it, and before what belongs between; None without."""
        vocab = self.vocab
        tokens = (
            llama_cpp.llama_vocab_fim_pre(vocab),
            llama_cpp.llama_vocab_fim_suf(vocab),
            llama_cpp.llama_vocab_fim_mid(vocab),
        )
        return tokens if min(tokens) >= 0 else None

    def piece(self, token: int, show_control: bool = False) -> bytes:
        """The bytes of a token as text; control tokens are empty unless they are to be shown."""
        cached = self._pieces.get((token, show_control))
        if cached is None:
            self._pieces[token, show_control] = cached = self.read_piece(token, show_control)
        return cached

    def read_piece(self, token: int, show_control: bool) -> bytes:
        """As ``piece``, for who asks for all tokens once: nothing is kept."""
        buffer = ctypes.create_string_buffer(256)
        length = llama_cpp.llama_token_to_piece(self.vocab, token, buffer, 256, 0, show_control)
        if length < 0:
            buffer = ctypes.create_string_buffer(-length)
            length = llama_cpp.llama_token_to_piece(self.vocab, token, buffer, -length, 0, show_control)
        return buffer.raw[:length]
