"""Vocabularies that differ from a model's: two tokens changed places, another end, or unused ones behind it."""

from __future__ import annotations

import shutil
from pathlib import Path

import gguf


def swapped(path: Path, source: Path) -> Path:
    """A copy of a model in which two tokens of the same length have each other's text."""
    shutil.copy(source, path)
    reader = gguf.GGUFReader(path, "r+")
    texts = reader.fields["tokenizer.ggml.tokens"]
    one, other = [texts.parts[at] for at in texts.data if len(texts.parts[at]) == 5][-2:]
    one[:], other[:] = other.copy(), one.copy()
    reader.data.flush()
    return path


def ending_with(path: Path, source: Path, token: int) -> Path:
    """A copy of a model whose texts end with ``token``."""
    shutil.copy(source, path)
    reader = gguf.GGUFReader(path, "r+")
    reader.fields["tokenizer.ggml.eos_token_id"].parts[-1][0] = token
    reader.data.flush()
    return path


def padded(path: Path, source: Path, n_added: int) -> Path:
    """The vocabulary of a model, and nothing else of it, with ``n_added`` unused tokens behind it."""
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(path, "llama")
    added = {
        "tokenizer.ggml.tokens": [f"[PAD{i}]" for i in range(n_added)],
        "tokenizer.ggml.token_type": [int(gguf.TokenType.UNUSED)] * n_added,
    }
    for field in reader.fields.values():
        if field.name.startswith("tokenizer."):
            sub_type = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
            value = field.contents()
            value = value + added[field.name] if field.name in added else value
            writer.add_key_value(field.name, value, field.types[0], sub_type=sub_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return path
