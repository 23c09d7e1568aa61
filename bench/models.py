"""Writes random-weight llama GGUFs that stand for real models: same shapes and speed, no meaning.

    python -m bench.models OUT.gguf --vocab ggml-vocab-llama-spm.gguf --size 100m|1.1b|7b

The vocabulary is copied from one of the vocabulary files that llama.cpp's source carries. The seed is fixed. The
output rows of all tokens but whole words are zero, so greedy text is words: it never ends by itself, every token shows
at once, and text read in again gives the same tokens. That costs and saves a server nothing.
"""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np

# Part of a written file's name: another number makes every cached model anew.
FORMAT = 1
N_CTX_TRAIN = 8192
BYTES_PER_KV_VALUE = 2
_BLOCK = re.compile(r"^blk\.\d+\.")
_WORD = re.compile("\u2581[a-z]{3,}")


@dataclass(frozen=True)
class Size:
    """The shape of a llama: layers, width, heads (query, key/value), feed-forward width, quantisation.

    ``repeated``: every block has the weights of the first, so that a large model is written in seconds. It costs a
    server what any other weights cost.
    """

    n_layer: int
    n_embd: int
    n_head: int
    n_head_kv: int
    n_ff: int
    quant: gguf.GGMLQuantizationType
    repeated: bool = False

    @property
    def kv_bytes_per_token(self) -> int:
        """Keys and values of one token over all layers, as llama.cpp keeps them by default (f16)."""
        head = self.n_embd // self.n_head
        return self.n_layer * self.n_head_kv * head * 2 * BYTES_PER_KV_VALUE

    def shapes(self, n_vocab: int) -> dict[str, tuple[int, int]]:
        """Every matrix of the model: rows, columns."""
        kv = self.n_embd // self.n_head * self.n_head_kv
        shapes = {"token_embd": (n_vocab, self.n_embd), "output": (n_vocab, self.n_embd)}
        for i in range(self.n_layer):
            shapes |= {
                f"blk.{i}.attn_q": (self.n_embd, self.n_embd),
                f"blk.{i}.attn_k": (kv, self.n_embd),
                f"blk.{i}.attn_v": (kv, self.n_embd),
                f"blk.{i}.attn_output": (self.n_embd, self.n_embd),
                f"blk.{i}.ffn_gate": (self.n_ff, self.n_embd),
                f"blk.{i}.ffn_up": (self.n_ff, self.n_embd),
                f"blk.{i}.ffn_down": (self.n_embd, self.n_ff),
            }
        return shapes


SIZES = {
    "100m": Size(10, 768, 12, 4, 2048, gguf.GGMLQuantizationType.Q8_0),
    "1.1b": Size(22, 2048, 32, 4, 5632, gguf.GGMLQuantizationType.Q4_0),
    "7b": Size(32, 4096, 32, 8, 14336, gguf.GGMLQuantizationType.Q4_0, repeated=True),
    "tiny": Size(2, 64, 2, 1, 128, gguf.GGMLQuantizationType.Q8_0),
}


def ensure_model(folder: Path, name: str, vocabulary: Path) -> Path:
    """The model of ``SIZES[name]`` in ``folder``; written when it is not there yet."""
    quant = SIZES[name].quant.name.lower()
    path = folder / f"random-{name}-{quant}-v{FORMAT}.gguf"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        write_model(part, SIZES[name], vocabulary)
        part.rename(path)
    return path


def ensure_words(folder: Path, vocabulary: Path) -> list[str]:
    """The words that are one token each, in the vocabulary's order; kept in ``folder``, for reading a GGUF is slow."""
    path = folder / f"words-{vocabulary.stem}-v{FORMAT}.txt"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(words_of(gguf.GGUFReader(vocabulary)).values()))
    return path.read_text().split()


def write_model(path: Path, size: Size, vocabulary: Path, seed: int = 0) -> None:
    """Writes the GGUF; a few seconds for each 100 M parameters."""
    random = np.random.default_rng(seed)
    reader = gguf.GGUFReader(vocabulary)
    writer = gguf.GGUFWriter(path, "llama")
    n_vocab = len(reader.fields["tokenizer.ggml.tokens"].data)
    _write_shape(writer, f"random {path.stem}", size, n_vocab)
    copy_vocabulary(reader, writer)
    silent = np.ones(n_vocab, bool)
    silent[list(words_of(reader))] = False
    written: dict[str, np.ndarray] = {}
    for name, shape in size.shapes(n_vocab).items():
        packed = written.get(_BLOCK.sub("blk.0.", name)) if size.repeated else None
        if packed is None:
            weights = random.standard_normal(shape, np.float32) * (shape[1] ** -0.5)
            if name == "output":
                weights[silent] = 0
            written[name] = packed = gguf.quants.quantize(weights, size.quant)
        writer.add_tensor(f"{name}.weight", packed, raw_dtype=size.quant)
    norms = [f"blk.{i}.{norm}" for i in range(size.n_layer) for norm in ("attn_norm", "ffn_norm")]
    for norm in ("output_norm", *norms):
        writer.add_tensor(f"{norm}.weight", np.ones(size.n_embd, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _write_shape(writer: gguf.GGUFWriter, name: str, size: Size, n_vocab: int) -> None:
    writer.add_name(name)
    writer.add_context_length(N_CTX_TRAIN)
    writer.add_embedding_length(size.n_embd)
    writer.add_block_count(size.n_layer)
    writer.add_feed_forward_length(size.n_ff)
    writer.add_head_count(size.n_head)
    writer.add_head_count_kv(size.n_head_kv)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(size.n_embd // size.n_head)
    writer.add_vocab_size(n_vocab)


def copy_vocabulary(reader: gguf.GGUFReader, writer: gguf.GGUFWriter) -> int:
    """Copies every ``tokenizer.*`` field; returns the number of tokens."""
    for field in reader.fields.values():
        if not field.name.startswith("tokenizer.") or field.name == "tokenizer.chat_template":
            continue
        sub_type = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, field.contents(), field.types[0], sub_type=sub_type)
    return len(reader.fields["tokenizer.ggml.tokens"].data)


def words_of(reader: gguf.GGUFReader) -> dict[int, str]:
    """Token id to word, for each token that is a space and at least three letters of a SentencePiece vocabulary."""
    tokens: list[Any] = reader.fields["tokenizer.ggml.tokens"].contents()
    return {i: text[1:] for i, text in enumerate(tokens) if _WORD.fullmatch(text)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--vocab", type=Path, required=True)
    parser.add_argument("--size", choices=SIZES, default="100m")
    arguments = parser.parse_args()
    write_model(arguments.out, SIZES[arguments.size], arguments.vocab)


if __name__ == "__main__":
    main()
