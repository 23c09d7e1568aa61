"""Writes a LLaMA model that was read from a GGML file as a GGUF.

The header is the ``gguf`` package's work; the values follow in pieces, so that memory holds only one. Keys and their
meaning: ggml's ``docs/gguf.md``. The rows of wq and wk lie in a GGML file as llama.cpp's ``llama`` architecture
turns them (pairs of neighbours), so they stay as they are.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from api_host.errors import ModelLoadFailed
from api_host.models.ggml.blocks import ScaleTooLarge, as_today, block_bytes
from api_host.models.ggml.container import Container, Hyperparameters
from api_host.models.ggml.source import Source
from api_host.models.ggml.tensors import Tensor, Tensors
from api_host.models.ggml.vocabulary import BOS, EOS, UNK, Vocabulary

if TYPE_CHECKING:
    import gguf

ORIGIN_KEY = "api_host.converted_from"
"""The metadata key by which a conversion is known later on."""

_ALIGNMENT = 32
_PIECE_BYTES = 8 << 20


@dataclass
class Model:
    """A GGML file that was read and checked; its values are still in the file."""

    container: Container
    numbers: Hyperparameters
    vocabulary: Vocabulary
    tensors: Tensors


@dataclass
class Addition:
    """What no GGML file says. ``origin`` goes under ORIGIN_KEY."""

    name: str
    origin: str
    n_ctx: int
    rms_norm_eps: float


def size_of(model: Model) -> int:
    """Bytes that the GGUF will take, rounded up a little."""
    tensors = model.tensors.by_name.values()
    vocabulary = sum(len(text) + 16 for text in model.vocabulary.texts)
    return (1 << 16) + vocabulary + sum(_padded(tensor.n_bytes_today) + 256 for tensor in tensors)


def write_gguf(
    path: Path, source: Source, model: Model, addition: Addition, on_progress: Callable[[int, int], None]
) -> None:
    """Writes the file; an older one at ``path`` is replaced.

    Args:
        on_progress: called with the bytes of tensors done and the total, after each piece.

    Raises:
        ModelLoadFailed: the package ``gguf`` is missing, or a value cannot be what it is.
        OSError: the disk.
    """
    _write_header(path, model, addition)
    total = sum(tensor.n_bytes for tensor in model.tensors.by_name.values())
    done = 0
    with path.open("r+b") as file:
        file.seek(0, os.SEEK_END)
        _pad(file)
        for tensor in model.tensors.by_name.values():
            for n_bytes, piece in _pieces(tensor, model.container, source):
                file.write(piece)
                done += n_bytes
                on_progress(done, total)
            _pad(file)
        file.flush()
        os.fsync(file.fileno())


def _write_header(path: Path, model: Model, addition: Addition) -> None:
    try:
        import gguf
        import numpy as np
    except ImportError as error:
        raise ModelLoadFailed(
            f"converting a GGML file needs the package {error.name}: pip install 'api-host[convert]'"
        ) from error
    writer = gguf.GGUFWriter(path, "llama")
    _add_metadata(writer, model, addition)
    _add_vocabulary(writer, model.vocabulary)
    for name, tensor in model.tensors.by_name.items():
        kind = gguf.GGMLQuantizationType(tensor.type_id)
        shape = tensor.dims[::-1]
        writer.add_tensor_info(name, shape, np.dtype(np.float32), tensor.n_bytes_today, raw_dtype=kind)
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
    finally:
        writer.close()


def _add_metadata(writer: gguf.GGUFWriter, model: Model, addition: Addition) -> None:
    import gguf

    numbers = model.numbers
    writer.add_type(gguf.GGUFType.MODEL)
    writer.add_name(addition.name)
    writer.add_string(ORIGIN_KEY, addition.origin)
    writer.add_file_type(numbers.ftype)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_vocab_size(numbers.n_vocab)
    writer.add_context_length(addition.n_ctx)
    writer.add_embedding_length(numbers.n_embd)
    writer.add_block_count(numbers.n_layer)
    writer.add_feed_forward_length(model.tensors.n_ff)
    writer.add_head_count(numbers.n_head)
    writer.add_head_count_kv(model.tensors.n_head_kv)
    writer.add_rope_dimension_count(numbers.n_rot)
    writer.add_layer_norm_rms_eps(addition.rms_norm_eps)


def _add_vocabulary(writer: gguf.GGUFWriter, vocabulary: Vocabulary) -> None:
    writer.add_tokenizer_model("llama")
    writer.add_token_list(vocabulary.texts)
    writer.add_token_scores(vocabulary.scores)
    writer.add_token_types([int(kind) for kind in vocabulary.types])
    writer.add_unk_token_id(UNK)
    writer.add_bos_token_id(BOS)
    writer.add_eos_token_id(EOS)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)


def _pieces(tensor: Tensor, container: Container, source: Source) -> Iterator[tuple[int, bytes]]:
    """The tensor's values as of today, in whole blocks, each piece with its bytes in the source."""
    what = f"tensor {tensor.name}"
    block = block_bytes(tensor.type, container)
    length = _PIECE_BYTES // block * block
    source.go_to(tensor.offset, what)
    for start in range(0, tensor.n_bytes, length):
        raw = source.take(min(length, tensor.n_bytes - start), what)
        try:
            yield len(raw), as_today(tensor.type, container, raw)
        except ScaleTooLarge:
            raise source.refused(f"{what} has a scale too large for {tensor.type.name}: damaged") from None


def _pad(file: BinaryIO) -> None:
    position = file.tell()
    file.write(bytes(_padded(position) - position))


def _padded(n_bytes: int) -> int:
    return -(-n_bytes // _ALIGNMENT) * _ALIGNMENT
