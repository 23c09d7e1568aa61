"""The tensors of a GGML file: their names, types, shapes and places, checked against what a LLaMA model has.

Reads no values. Each tensor is (u32 unless said otherwise): n_dims, length of the name, type, the dimensions with
the row's length first, the name, padding up to the container's alignment, the values.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from api_host.models.ggml.blocks import GONE_TYPES, TENSOR_TYPES, TensorType, block_bytes
from api_host.models.ggml.container import Container, Hyperparameters
from api_host.models.ggml.source import Source

_MAX_NAME_BYTES = 128
_MAX_FEED_FORWARD = 1 << 20

# Name in the file: name in a GGUF, dimensions with the row's length first.
_WHOLE_MODEL = {
    "tok_embeddings.weight": ("token_embd.weight", "n_embd", "n_vocab"),
    "norm.weight": ("output_norm.weight", "n_embd"),
    "output.weight": ("output.weight", "n_embd", "n_vocab"),
}
_EACH_LAYER = {
    "attention_norm.weight": ("attn_norm.weight", "n_embd"),
    "attention.wq.weight": ("attn_q.weight", "n_embd", "n_embd"),
    "attention.wk.weight": ("attn_k.weight", "n_embd", "n_kv"),
    "attention.wv.weight": ("attn_v.weight", "n_embd", "n_kv"),
    "attention.wo.weight": ("attn_output.weight", "n_embd", "n_embd"),
    "ffn_norm.weight": ("ffn_norm.weight", "n_embd"),
    "feed_forward.w1.weight": ("ffn_gate.weight", "n_embd", "n_ff"),
    "feed_forward.w2.weight": ("ffn_down.weight", "n_ff", "n_embd"),
    "feed_forward.w3.weight": ("ffn_up.weight", "n_embd", "n_ff"),
}


@dataclass(frozen=True)
class Tensor:
    """One tensor. ``dims`` has the row's length first; ``offset`` and ``n_bytes`` say where it is in the file."""

    name: str
    type_id: int
    dims: tuple[int, ...]
    offset: int
    n_bytes: int

    @property
    def type(self) -> TensorType:
        return TENSOR_TYPES[self.type_id]

    @property
    def n_bytes_today(self) -> int:
        return math.prod(self.dims) // self.type.n_values * self.type.n_bytes


@dataclass(frozen=True)
class Tensors:
    """All tensors by their GGUF names, in the file's order, and what only their shapes tell."""

    by_name: dict[str, Tensor]
    n_ff: int
    n_head_kv: int


def read_tensors(source: Source, container: Container, numbers: Hyperparameters) -> Tensors:
    """Walks over all tensors, without reading values.

    Raises:
        ModelLoadFailed: cut off, a type that is gone, a name that no LLaMA model has, a name that comes twice or
            is missing, a shape that is not the hyperparameters'.
    """
    expected = _expected(numbers.n_layer)
    found: dict[str, Tensor] = {}
    while source.position < source.size:
        tensor = _read_tensor(source, container)
        if tensor.name not in expected:
            raise source.refused(f"tensor {tensor.name} is none of a LLaMA model's {numbers.n_layer} layers")
        if tensor.name in found:
            raise source.refused(f"tensor {tensor.name} comes twice: damaged")
        found[tensor.name] = tensor
    missing = [name for name in expected if name not in found]
    if missing:
        raise source.refused(
            f"it has no tensor {missing[0]}" + f", nor {len(missing) - 1} others" * (len(missing) > 1)
        )
    sizes = _sizes(source, found, numbers)
    for name, (_, *dims) in expected.items():
        _check_shape(source, found[name], tuple(sizes[dim] for dim in dims))
    n_head_kv = sizes["n_kv"] // numbers.head_dim
    return Tensors({expected[name][0]: tensor for name, tensor in found.items()}, sizes["n_ff"], n_head_kv)


def _expected(n_layer: int) -> dict[str, tuple[str, ...]]:
    layers = {
        f"layers.{layer}.{name}": (f"blk.{layer}.{gguf_name}", *dims)
        for layer in range(n_layer)
        for name, (gguf_name, *dims) in _EACH_LAYER.items()
    }
    return {**_WHOLE_MODEL, **layers}


def _read_tensor(source: Source, container: Container) -> Tensor:
    what = f"the head of a tensor at byte {source.position:,}"
    n_dims, name_length, type_id = source.unpack("3I", what)
    if n_dims not in (1, 2) or not 1 <= name_length <= _MAX_NAME_BYTES:
        raise source.refused(f"{what} has {n_dims} dimensions and a name of {name_length} bytes: damaged")
    dims = source.unpack(f"{n_dims}I", what)
    name = ascii(source.take(name_length, what).decode("utf-8", "replace"))[1:-1]
    kind = _known_type(source, container, name, type_id)
    if not all(dims) or dims[0] % kind.n_values:
        raise source.refused(
            f"tensor {name} has the shape {_shape(dims)}, of which no rows of {kind.name} can be made"
        )
    offset = -(-source.position // container.alignment) * container.alignment
    n_bytes = math.prod(dims) // kind.n_values * block_bytes(kind, container)
    source.go_to(offset + n_bytes, f"tensor {name}")
    return Tensor(name, type_id, dims, offset, n_bytes)


def _known_type(source: Source, container: Container, name: str, type_id: int) -> TensorType:
    if type_id in GONE_TYPES:
        raise source.refused(
            f"tensor {name} is {GONE_TYPES[type_id]}, which llama.cpp no longer has; convert the model's F16 file"
        )
    kind = TENSOR_TYPES.get(type_id)
    if kind is None or (kind.is_k_quant and not container.has_k_quants):
        known = ", ".join(kind.name for kind in TENSOR_TYPES.values())
        raise source.refused(f"tensor {name} has type {type_id} in a {container} file; known are {known}")
    return kind


def _sizes(source: Source, found: dict[str, Tensor], numbers: Hyperparameters) -> dict[str, int]:
    """Every dimension's size; those of the feed-forward and of keys and values are taken from the first layer."""
    n_ff = found["layers.0.feed_forward.w1.weight"].dims[-1]
    n_kv = found["layers.0.attention.wk.weight"].dims[-1]
    if n_ff > _MAX_FEED_FORWARD:
        raise source.refused(f"a feed-forward length of {n_ff}, more than {_MAX_FEED_FORWARD}: damaged")
    if n_kv % numbers.head_dim or numbers.n_embd % n_kv:
        raise source.refused(
            f"tensor layers.0.attention.wk.weight has {n_kv} rows, which {numbers.n_head} heads of"
            f" {numbers.head_dim} cannot share: damaged"
        )
    return {"n_embd": numbers.n_embd, "n_vocab": numbers.n_vocab, "n_ff": n_ff, "n_kv": n_kv}


def _check_shape(source: Source, tensor: Tensor, dims: tuple[int, ...]) -> None:
    if tensor.dims == dims:
        if len(dims) == 1 and tensor.type.name != "F32":
            raise source.refused(
                f"tensor {tensor.name} is {tensor.type.name}; of one dimension, it must be F32"
            )
        return
    if (
        tensor.name == "tok_embeddings.weight"
        and tensor.dims[1:] == dims[1:]
        and dims[0] % tensor.dims[0] == 0
    ):
        raise source.refused(
            f"it is one of {dims[0] // tensor.dims[0]} parts of a model; only models in one file can be converted"
        )
    raise source.refused(f"tensor {tensor.name} has the shape {_shape(tensor.dims)}, not {_shape(dims)}")


def _shape(dims: tuple[int, ...]) -> str:
    return " x ".join(map(str, dims))
