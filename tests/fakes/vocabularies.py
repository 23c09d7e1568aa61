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


def of_pieces(
    path: Path, pieces: list[str], looked_for: tuple[str, ...] = (), space_first: bool = True
) -> Path:
    """A vocabulary as SentencePiece makes them, with a token for each byte, and nothing else of a model.

    Args:
        path: where it is written.
        pieces: with "▁" for a space; an earlier one is put together first.
        looked_for: tokens that are found in the text as it is, before all others.
        space_first: whether a space is written before every text.
    """
    kinds = gguf.TokenType
    tokens = [("<unk>", kinds.UNKNOWN), ("<s>", kinds.CONTROL), ("</s>", kinds.CONTROL)]
    tokens += [(f"<0x{i:02X}>", kinds.BYTE) for i in range(256)]
    tokens += [(text, kinds.USER_DEFINED) for text in looked_for]
    tokens += [(piece, kinds.NORMAL) for piece in pieces if piece not in looked_for]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tokenizer_model("llama")
    writer.add_token_list([text for text, _ in tokens])
    writer.add_token_scores([-float(i) for i in range(len(tokens))])
    writer.add_token_types([int(kind) for _, kind in tokens])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_space_prefix(space_first)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return path
