"""How many bytes a model's KV cache takes, by the figures of a GGUF's header and as llama.cpp lays it out.

Knows nothing of what is free.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from api_host.gguf_header import Value, architecture_number, as_count

CacheType = Literal["f16", "q8_0", "q4_0"]
# Bytes of one value of the KV cache; quantised ones share a scale of 2 bytes in blocks of 32.
_VALUE_BYTES: dict[CacheType, float] = {"f16": 2.0, "q8_0": 34 / 32, "q4_0": 18 / 32}
# Those that llama.cpp makes no memory of a sequence for (llama-model.cpp, create_memory): they read texts as a whole.
_WITHOUT = {
    "bert",
    "jina-bert-v2",
    "jina-bert-v3",
    "nomic-bert",
    "nomic-bert-moe",
    "neo-bert",
    "eurobert",
    "modern-bert",
    "gemma-embedding",
    "wavtokenizer-dec",
    "dream",
    "llada",
    "llada-moe",
    "rnd1",
}
# Of so many layers all but the last have a sliding window, unless the header says which; 0: it has to. Of the families
# that llama.cpp (src/models, load_swa_pattern) keeps no more than the window for. Others count as if they kept all.
_WINDOWED = {"gemma2": 2, "gemma3": 6, "gemma3n": 5, "gemma4": 0, "cohere2": 4, "gpt-oss": 2}
_GEMMA2_WINDOW = 4096
_GEMMA3N_LAYERS = 20
# A stream's cells come in such a number; beside a window there is room for the tokens of one pass.
_CELLS = 256
_PASS = 512
# Of so many layers all but the last have a running state instead, unless the header says which. Others say it with
# heads, of which such a layer has none; falcon-h1 has both in all layers.
_RUNNING = {"qwen3next": 4, "qwen35": 4, "qwen35moe": 4}
_STATE_VALUE_BYTES = 4
# No model has more layers; a number from a broken file must not become a list as long.
_MOST_LAYERS = 4096


@dataclass(frozen=True)
class KvCache:
    """Bytes of one token's keys and values, over the layers that keep all tokens and over those with a sliding window.

    ``window`` is in tokens. ``state`` are the bytes of a sequence's running state, as recurrent layers have, however
    long it is.
    """

    per_token: int = 0
    per_token_in_window: int = 0
    window: int = 0
    state: int = 0

    def size(self, n_ctx: int, n_slots: int = 1) -> int:
        """Bytes for ``n_slots`` sequences of ``n_ctx`` tokens each."""
        n_cells = _padded(n_ctx)
        n_windowed = min(n_cells, _padded(self.window + _PASS))
        cells = self.per_token * n_cells + self.per_token_in_window * n_windowed
        return n_slots * (cells + self.state)


def kv_cache(header: dict[str, Value], cache_type: CacheType = "f16") -> KvCache:
    """What a model's KV cache takes, by its header. Layers without attention count 0, and so does what is no number."""
    if header.get("general.architecture") in _WITHOUT:
        return KvCache()
    n_layer = min(layer_count(header), _MOST_LAYERS)
    heads = (_each_layers(header, "attention.head_count", n_layer) or [0])[0]
    heads_kv = _heads_kv(header, n_layer) if heads else [0] * n_layer
    windowed, window = _windowed(header, n_layer)
    head = architecture_number(header, "embedding_length") // heads if heads else 0
    values = [architecture_number(header, f"attention.{of}_length") or head for of in ("key", "value")]
    if _keys_only(header):
        values[1] = 0
    in_window = [
        architecture_number(header, f"attention.{of}_length_swa") or length
        for of, length in zip(("key", "value"), values, strict=True)
    ]
    n_whole = n_in_window = 0
    for n_heads, is_windowed in zip(heads_kv[: _n_keeping(header, n_layer)], windowed, strict=False):
        if is_windowed:
            n_in_window += n_heads * sum(in_window)
        else:
            n_whole += n_heads * sum(values)
    of_value = _VALUE_BYTES[cache_type]
    state = _n_running(header, heads_kv) * _state_size(header, heads)
    return KvCache(int(n_whole * of_value), int(n_in_window * of_value), window, state)


def layer_count(header: dict[str, Value]) -> int:
    """How many layers llama.cpp makes of a model, each with cells of its own: nanbeige goes through its more than once,
    and graniteswitch gets one more."""
    n_layer = architecture_number(header, "block_count")
    more = header.get("general.architecture") == "graniteswitch" and n_layer > 0
    return n_layer * max(1, architecture_number(header, "num_loops")) + more


def _heads_kv(header: dict[str, Value], n_layer: int) -> list[int]:
    """How many heads each layer keeps keys and values of; none where it has a running state."""
    heads = _each_layers(header, "attention.head_count_kv", n_layer)
    heads = heads or _each_layers(header, "attention.head_count", n_layer) or []
    family = header.get("general.architecture")
    if family not in _RUNNING:
        return heads
    told = header.get(f"{family}.attention.recurrent_layers")
    if isinstance(told, list):
        return [0 if running else n for n, running in zip(heads, told, strict=False)]
    period = architecture_number(header, "full_attention_interval") or _RUNNING[family]
    return [0 if (layer + 1) % period else n for layer, n in enumerate(heads)]


def _keys_only(header: dict[str, Value]) -> bool:
    """Whether keys are kept in a form that has the values in it (MLA). An indexer keeps a little more beside them."""
    both = all(architecture_number(header, f"attention.{of}_length_mla") for of in ("key", "value"))
    return both and not architecture_number(header, "attention.indexer.key_length")


def _n_running(header: dict[str, Value], heads_kv: list[int]) -> int:
    """How many layers have a running state, if the model has any."""
    family = str(header.get("general.architecture"))
    if family == "falcon-h1":
        return len(heads_kv)
    # Of this family some layers have neither, but a feed-forward part.
    others = _each_layers(header, "feed_forward_length", len(heads_kv)) if "nemotron" in family else None
    others = others or [0] * len(heads_kv)
    return sum(n == other == 0 for n, other in zip(heads_kv, others, strict=False))


def _state_size(header: dict[str, Value], heads: int) -> int:
    """Bytes of one layer's running state: a convolution's last inputs and what is summed up (llama-hparams.cpp)."""

    def number(key: str) -> int:
        return architecture_number(header, key)

    width, kernel, of_state = number("embedding_length"), number("ssm.conv_kernel"), number("ssm.state_size")
    if wkv := number("wkv.head_size"):
        n_values = width * ((number("token_shift_count") or 2) + wkv)
    elif shortconv := number("shortconv.l_cache"):
        n_values = width * (shortconv - 1)
    elif kda := number("kda.head_dim"):
        n_values = heads * kda * (3 * ((kernel or 4) - 1) + kda)
    else:
        inner = number("ssm.inner_size")
        n_values = max(0, kernel - 1) * (inner + 2 * number("ssm.group_count") * of_state) + of_state * inner
    return _STATE_VALUE_BYTES * n_values


def _windowed(header: dict[str, Value], n_layer: int) -> tuple[list[bool], int]:
    """Whether each layer has a sliding window, and of how many tokens that is."""
    family = header.get("general.architecture")
    window = architecture_number(header, "attention.sliding_window")
    if family == "gemma2":
        window = window or _GEMMA2_WINDOW
    if family not in _WINDOWED or not window:
        return [False] * n_layer, 0
    told = header.get(f"{family}.attention.sliding_window_pattern")
    if isinstance(told, list):
        return [bool(item) for item in told[:n_layer]] + [False] * (n_layer - len(told)), window
    period = _WINDOWED[family] if told is None else as_count(told)
    if period == 0:
        # To llama.cpp: all of them. Where the header has to say which, it does not load.
        return [told is not None] * n_layer, window
    return [layer % period < period - 1 for layer in range(n_layer)], window


def _n_keeping(header: dict[str, Value], n_layer: int) -> int:
    """How many layers have keys and values of their own; those behind them use the same."""
    if header.get("general.architecture") == "gemma3n":
        return min(n_layer, _GEMMA3N_LAYERS)
    if header.get("general.architecture") == "gemma4":
        return max(0, n_layer - architecture_number(header, "attention.shared_kv_layers"))
    return n_layer


def _each_layers(header: dict[str, Value], key: str, n_layer: int) -> list[int] | None:
    """A number of the architecture for each layer, which a header tells once or in a list; None where it does not."""
    value = header.get(f"{header.get('general.architecture')}.{key}")
    if value is None:
        return None
    return [as_count(item) for item in value] if isinstance(value, list) else [as_count(value)] * n_layer


def _padded(n_tokens: int) -> int:
    return -(-n_tokens // _CELLS) * _CELLS
