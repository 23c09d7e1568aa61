"""Small random-weight GGUFs of other architectures, with the demo model's vocabulary: mamba (a running state, no
cells), lfm2 (a hybrid of both), gemma3 (a sliding window), bert (embeddings only), llama, t5 (with an encoder),
t5encoder (nothing else), qwen35 (three layers of four with a running state), deepseek2 (keys that have the values in
them). Shapes as llama.cpp asks."""

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


def _add(writer: gguf.GGUFWriter, of: str, **numbers: int) -> None:
    for key, number in numbers.items():
        writer.add_uint32(f"{writer.arch}.{of}.{key}", number)


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
    _add(writer, "ssm", conv_kernel=kernel, inner_size=inner, state_size=state, time_step_rank=rank)
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


def _qwen35(writer: gguf.GGUFWriter) -> Shapes:
    size, groups, rank, kernel = 32, 2, 4, 4
    inner, of_keys = size * rank, size * groups
    _add(writer, "attention", head_count=N_HEAD, head_count_kv=N_HEAD_KV, key_length=HEAD, value_length=HEAD)
    _add(writer, "ssm", conv_kernel=kernel, inner_size=inner, state_size=size)
    _add(writer, "ssm", time_step_rank=rank, group_count=groups)
    writer.add_rope_dimension_sections([11, 11, 10, 0])
    shapes: Shapes = {"output_norm.weight": (WIDTH,)}
    for i in range(N_LAYER):
        for name in ("attn_norm", "post_attention_norm"):
            shapes[f"blk.{i}.{name}.weight"] = (WIDTH,)
        shapes |= {name: shape for name, shape in _feed_forward(i).items() if "norm" not in name}
        if i % 4 == 3:
            shapes |= {**_attention(i), f"blk.{i}.attn_q.weight": (2 * N_HEAD * HEAD, WIDTH)}
            continue
        shapes |= {
            f"blk.{i}.attn_qkv.weight": (2 * of_keys + inner, WIDTH),
            f"blk.{i}.attn_gate.weight": (inner, WIDTH),
            f"blk.{i}.ssm_conv1d.weight": (2 * of_keys + inner, kernel),
            f"blk.{i}.ssm_dt.bias": (rank,),
            f"blk.{i}.ssm_a": (rank,),
            f"blk.{i}.ssm_beta.weight": (rank, WIDTH),
            f"blk.{i}.ssm_alpha.weight": (rank, WIDTH),
            f"blk.{i}.ssm_norm.weight": (size,),
            f"blk.{i}.ssm_out.weight": (WIDTH, inner),
        }
    return shapes


def _deepseek2(writer: gguf.GGUFWriter) -> Shapes:
    kept, rotated, rank = 64, 32, 16
    _add(writer, "attention", head_count=N_HEAD, head_count_kv=1, kv_lora_rank=kept, q_lora_rank=rank)
    _add(writer, "attention", key_length=kept + rotated, key_length_mla=HEAD + rotated)
    _add(writer, "attention", value_length=kept, value_length_mla=HEAD)
    writer.add_rope_dimension_count(rotated)
    writer.add_leading_dense_block_count(N_LAYER)
    writer.add_expert_feed_forward_length(N_FF)
    writer.add_expert_shared_count(1)
    shapes: Shapes = {"output_norm.weight": (WIDTH,)}
    for i in range(N_LAYER):
        shapes |= {
            f"blk.{i}.attn_norm.weight": (WIDTH,),
            f"blk.{i}.attn_q_a_norm.weight": (rank,),
            f"blk.{i}.attn_kv_a_norm.weight": (kept,),
            f"blk.{i}.attn_q_a.weight": (rank, WIDTH),
            f"blk.{i}.attn_q_b.weight": (N_HEAD * (HEAD + rotated), rank),
            f"blk.{i}.attn_kv_a_mqa.weight": (kept + rotated, WIDTH),
            f"blk.{i}.attn_k_b.weight": (N_HEAD, kept, HEAD),
            f"blk.{i}.attn_v_b.weight": (N_HEAD, HEAD, kept),
            f"blk.{i}.attn_output.weight": (WIDTH, N_HEAD * HEAD),
            **_feed_forward(i),
        }
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
    "nanbeige": _llama,
    "qwen35": _qwen35,
    "deepseek2": _deepseek2,
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
