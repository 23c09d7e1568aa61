"""Writes random-weight llama GGUFs that stand for real models: same shapes and speed, no meaning.

    python -m bench.models OUT.gguf --vocab ggml-vocab-llama-spm.gguf --size 100m|1.1b

The vocabulary is copied from one of the vocabulary files that llama.cpp's source carries. The seed is fixed.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np


@dataclass(frozen=True)
class Size:
    """The shape of a llama: layers, width, heads (query, key/value), feed-forward width, quantisation."""

    n_layer: int
    n_embd: int
    n_head: int
    n_head_kv: int
    n_ff: int
    quant: gguf.GGMLQuantizationType


SIZES = {
    "100m": Size(10, 768, 12, 4, 2048, gguf.GGMLQuantizationType.Q8_0),
    "1.1b": Size(22, 2048, 32, 4, 5632, gguf.GGMLQuantizationType.Q4_0),
    "tiny": Size(2, 64, 2, 1, 128, gguf.GGMLQuantizationType.Q8_0),
}
N_CTX_TRAIN = 8192


def write_model(path: Path, size: Size, vocabulary: Path, seed: int = 0) -> None:
    """Writes the GGUF; about one second for each 100 M parameters."""
    random = np.random.default_rng(seed)
    writer = gguf.GGUFWriter(path, "llama")
    n_vocab = copy_vocabulary(gguf.GGUFReader(vocabulary), writer)
    head = size.n_embd // size.n_head
    writer.add_name(f"random {path.stem}")
    writer.add_context_length(N_CTX_TRAIN)
    writer.add_embedding_length(size.n_embd)
    writer.add_block_count(size.n_layer)
    writer.add_feed_forward_length(size.n_ff)
    writer.add_head_count(size.n_head)
    writer.add_head_count_kv(size.n_head_kv)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(head)
    writer.add_vocab_size(n_vocab)
    kv = head * size.n_head_kv
    shapes = {"token_embd": (n_vocab, size.n_embd), "output": (n_vocab, size.n_embd)}
    for i in range(size.n_layer):
        shapes |= {
            f"blk.{i}.attn_q": (size.n_embd, size.n_embd),
            f"blk.{i}.attn_k": (kv, size.n_embd),
            f"blk.{i}.attn_v": (kv, size.n_embd),
            f"blk.{i}.attn_output": (size.n_embd, size.n_embd),
            f"blk.{i}.ffn_gate": (size.n_ff, size.n_embd),
            f"blk.{i}.ffn_up": (size.n_ff, size.n_embd),
            f"blk.{i}.ffn_down": (size.n_embd, size.n_ff),
        }
        for norm in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{i}.{norm}.weight", np.ones(size.n_embd, np.float32))
    writer.add_tensor("output_norm.weight", np.ones(size.n_embd, np.float32))
    for name, shape in shapes.items():
        weights = random.standard_normal(shape, np.float32) * (shape[1] ** -0.5)
        writer.add_tensor(f"{name}.weight", gguf.quants.quantize(weights, size.quant), raw_dtype=size.quant)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def copy_vocabulary(reader: gguf.GGUFReader, writer: gguf.GGUFWriter) -> int:
    """Copies every ``tokenizer.*`` field; returns the number of tokens."""
    for field in reader.fields.values():
        if not field.name.startswith("tokenizer.") or field.name == "tokenizer.chat_template":
            continue
        sub_type = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, field.contents(), field.types[0], sub_type=sub_type)
    return len(reader.fields["tokenizer.ggml.tokens"].data)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--vocab", type=Path, required=True)
    parser.add_argument("--size", choices=SIZES, default="100m")
    arguments = parser.parse_args()
    write_model(arguments.out, SIZES[arguments.size], arguments.vocab)


if __name__ == "__main__":
    main()
