"""Small random-weight GGUFs of other architectures, with the demo model's vocabulary: mamba (a running state, no
cells), lfm2 (a hybrid of both), gemma3 (a sliding window), bert (embeddings only), llama, t5 (with an encoder),
t5encoder (nothing else). Shapes as llama.cpp asks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np

from bench.models import copy_vocabulary

WIDTH, N_LAYER, N_FF, N_CTX = 64, 4, 128, 1024
N_HEAD, N_HEAD_KV, HEAD = 2, 1, 32
WINDOW = 32

Shapes = dict[str, tuple[int, ...]]


def _attention(i: int) -> Shapes:
    return {
        f"blk.{i}.attn_q.weight": (N_HEAD * HEAD, WIDTH),
        f"blk.{i}.attn_k.weight": (N_HEAD_KV * HEAD, WIDTH),
        f"blk.{i}.attn_v.weight": (N_HEAD_KV * HEAD, WIDTH),
        f"blk.{i}.attn_output.weight": (WIDTH, N_HEAD * HEAD),
        f"blk.{i}.attn_q_norm.weight": (HEAD,),
        f"blk.{i}.attn_k_norm.weight": (HEAD,),
    }


def _feed_forward(i: int) -> Shapes:
    return {
        f"blk.{i}.ffn_norm.weight": (WIDTH,),
        f"blk.{i}.ffn_gate.weight": (N_FF, WIDTH),
        f"blk.{i}.ffn_up.weight": (N_FF, WIDTH),
        f"blk.{i}.ffn_down.weight": (WIDTH, N_FF),
    }


def _mamba(writer: gguf.GGUFWriter) -> Shapes:
    inner, state, kernel, rank = 2 * WIDTH, 8, 4, 4
    writer.add_ssm_conv_kernel(kernel)
    writer.add_ssm_inner_size(inner)
    writer.add_ssm_state_size(state)
    writer.add_ssm_time_step_rank(rank)
    writer.add_head_count(0)
    shapes: Shapes = {"output_norm.weight": (WIDTH,)}
    for i in range(N_LAYER):
        shapes |= {
            f"blk.{i}.attn_norm.weight": (WIDTH,),
            f"blk.{i}.ssm_in.weight": (2 * inner, WIDTH),
            f"blk.{i}.ssm_conv1d.weight": (inner, kernel),
            f"blk.{i}.ssm_conv1d.bias": (inner,),
            f"blk.{i}.ssm_x.weight": (rank + 2 * state, inner),
            f"blk.{i}.ssm_dt.weight": (inner, rank),
            f"blk.{i}.ssm_dt.bias": (inner,),
            f"blk.{i}.ssm_a": (inner, state),
            f"blk.{i}.ssm_d": (inner,),
            f"blk.{i}.ssm_out.weight": (WIDTH, inner),
        }
    return shapes


def _lfm2(writer: gguf.GGUFWriter) -> Shapes:
    writer.add_head_count(N_HEAD)
    writer.add_head_count_kv([N_HEAD_KV if i % 2 else 0 for i in range(N_LAYER)])
    writer.add_shortconv_l_cache(3)
    shapes: Shapes = {"token_embd_norm.weight": (WIDTH,)}
    for i in range(N_LAYER):
        shapes |= {f"blk.{i}.attn_norm.weight": (WIDTH,), **_feed_forward(i)}
        shapes |= (
            _attention(i)
            if i % 2
            else {
                f"blk.{i}.shortconv.conv.weight": (WIDTH, 3),
                f"blk.{i}.shortconv.in_proj.weight": (3 * WIDTH, WIDTH),
                f"blk.{i}.shortconv.out_proj.weight": (WIDTH, WIDTH),
            }
        )
    return shapes


def _gemma3(writer: gguf.GGUFWriter) -> Shapes:
    writer.add_head_count(N_HEAD)
    writer.add_head_count_kv(N_HEAD_KV)
    writer.add_key_length(HEAD)
    writer.add_value_length(HEAD)
    writer.add_sliding_window(WINDOW)
    shapes: Shapes = {"output_norm.weight": (WIDTH,)}
    for i in range(N_LAYER):
        names = ("attn_norm", "post_attention_norm", "post_ffw_norm")
        shapes |= {f"blk.{i}.{name}.weight": (WIDTH,) for name in names}
        shapes |= {**_attention(i), **_feed_forward(i)}
    return shapes


def _bert(writer: gguf.GGUFWriter) -> Shapes:
    writer.add_head_count(N_HEAD)
    writer.add_layer_norm_eps(1e-5)
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType.MEAN)
    writer.add_token_type_count(2)
    shapes: Shapes = {
        "token_types.weight": (2, WIDTH),
        "position_embd.weight": (N_CTX, WIDTH),
        "token_embd_norm.weight": (WIDTH,),
        "token_embd_norm.bias": (WIDTH,),
    }
    for i in range(N_LAYER):
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            shapes[f"blk.{i}.{name}.weight"] = (WIDTH, WIDTH)
        for name in ("attn_output_norm", "layer_output_norm"):
            shapes |= {f"blk.{i}.{name}.weight": (WIDTH,), f"blk.{i}.{name}.bias": (WIDTH,)}
        shapes |= {
            f"blk.{i}.ffn_up.weight": (N_FF, WIDTH),
            f"blk.{i}.ffn_up.bias": (N_FF,),
            f"blk.{i}.ffn_down.weight": (WIDTH, N_FF),
            f"blk.{i}.ffn_down.bias": (WIDTH,),
        }
    return shapes


def _llama(writer: gguf.GGUFWriter) -> Shapes:
    writer.add_head_count(N_HEAD)
    writer.add_head_count_kv(N_HEAD_KV)
    writer.add_rope_dimension_count(HEAD)
    shapes: Shapes = {"output_norm.weight": (WIDTH,)}
    for i in range(N_LAYER):
        attention = {name: shape for name, shape in _attention(i).items() if "norm" not in name}
        shapes |= {f"blk.{i}.attn_norm.weight": (WIDTH,), **attention, **_feed_forward(i)}
    return shapes


def _t5(*sides: str) -> Callable[[gguf.GGUFWriter], Shapes]:
    def shapes(writer: gguf.GGUFWriter) -> Shapes:
        writer.add_head_count(N_HEAD)
        writer.add_layer_norm_eps(1e-6)
        writer.add_relative_attn_buckets_count(8)
        writer.add_decoder_start_token_id(0)
        shapes: Shapes = {}
        for side in sides:
            shapes[f"{side}.output_norm.weight"] = (WIDTH,)
            shapes[f"{side}.blk.0.attn_rel_b.weight"] = (8, N_HEAD)
            for i in range(N_LAYER):
                for attention in ("attn", "cross_attn") if side == "dec" else ("attn",):
                    shapes[f"{side}.blk.{i}.{attention}_norm.weight"] = (WIDTH,)
                    for name in "qkvo":
                        shapes[f"{side}.blk.{i}.{attention}_{name}.weight"] = (WIDTH, WIDTH)
                shapes |= {f"{side}.{name}": shape for name, shape in _feed_forward(i).items()}
        return shapes

    return shapes


ARCHITECTURES: dict[str, Callable[[gguf.GGUFWriter], Shapes]] = {
    "mamba": _mamba,
    "lfm2": _lfm2,
    "gemma3": _gemma3,
    "bert": _bert,
    "llama": _llama,
    "t5": _t5("enc", "dec"),
    "t5encoder": _t5("enc"),
}
GENERATORS = ("mamba", "lfm2", "gemma3")


def write_random(
    path: Path,
    architecture: str,
    vocabulary: Path,
    seed: int = 0,
    added: dict[str, np.ndarray] | None = None,
    header: dict[str, int | list[bool]] | None = None,
) -> Path:
    """Writes a GGUF of ``architecture`` with F32 weights; about 1 MB.

    ``added`` is added to tensors by name; ``header`` are numbers, truth values or lists that its header says
    instead.
    """
    random = np.random.default_rng(seed)
    writer = gguf.GGUFWriter(path, architecture)
    n_vocab = copy_vocabulary(gguf.GGUFReader(vocabulary), writer)
    writer.add_context_length(N_CTX)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(N_LAYER)
    writer.add_feed_forward_length(N_FF)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(n_vocab)
    shapes = {"token_embd.weight": (n_vocab, WIDTH), **ARCHITECTURES[architecture](writer)}
    header = header or {}
    if "position_embd.weight" in shapes:
        shapes["position_embd.weight"] = (header.get(f"{architecture}.context_length", N_CTX), WIDTH)
    for key, value in header.items():
        if isinstance(value, list):
            writer.add_array(key, value)
            continue
        kind = gguf.GGUFValueType.BOOL if isinstance(value, bool) else gguf.GGUFValueType.UINT32
        writer.add_key_value(key, value, kind)
    for name, shape in shapes.items():
        writer.add_tensor(name, _weights(name, shape, random) + (added or {}).get(name, np.float32(0)))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def write_adapter(path: Path, seed: int = 1, rank: int = 4, size: float = 1.0) -> dict[str, np.ndarray]:
    """Writes a random LoRA adapter for a gemma3 of ``write_random``; returns what it adds to the weights."""
    random = np.random.default_rng(seed)
    writer = gguf.GGUFWriter(path, "gemma3")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", float(rank))
    added = {}
    for i in range(N_LAYER):
        for name, (n_out, n_in) in {"attn_q": (N_HEAD * HEAD, WIDTH), "ffn_down": (WIDTH, N_FF)}.items():
            tensor = f"blk.{i}.{name}.weight"
            a = random.standard_normal((rank, n_in), np.float32) * np.float32(n_in**-0.5)
            b = random.standard_normal((n_out, rank), np.float32) * np.float32(size * rank**-0.5)
            writer.add_tensor(f"{tensor}.lora_a", a)
            writer.add_tensor(f"{tensor}.lora_b", b)
            added[tensor] = b @ a
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return added


def _weights(name: str, shape: tuple[int, ...], random: np.random.Generator) -> np.ndarray:
    if "norm" in name:
        return np.full(shape, float(name.endswith("weight")), np.float32)
    values = random.standard_normal(shape, np.float32)
    if name.endswith("ssm_a"):
        return -np.abs(values)
    return values * (shape[-1] ** -0.5)
