"""Writes LLaMA models as the GGML files of 2023: five containers, and blocks as each of them had them.

Knows nothing of the program's own reader: the layouts are written down here a second time.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from tests.fakes.tiny_llama import VOCABULARY, Array, TinyLlama

CONTAINERS = [("ggml", 0), ("ggmf", 1), ("ggjt", 1), ("ggjt", 2), ("ggjt", 3)]
MAGICS = {"ggml": 0x67676D6C, "ggmf": 0x67676D66, "ggjt": 0x67676A74}
TYPE_IDS = {"F32": 0, "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q5_0": 6, "Q5_1": 7, "Q8_0": 8}
FILE_TYPES = {"F32": 0, "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q8_0": 7, "Q5_0": 8, "Q5_1": 9}
LEVELS = {"Q4_0": (-8, 7), "Q4_1": (0, 15), "Q5_0": (-16, 15), "Q5_1": (0, 31), "Q8_0": (-127, 127)}


def write_ggml(
    path: Path, model: TinyLlama, container: tuple[str, int] = ("ggjt", 3), kind: str = "F32"
) -> dict[str, Array]:
    """Writes the file.

    Returns:
        The values of each tensor as a file of today can hold them: quantised, with scales in half precision.
    """
    held: dict[str, Array] = {}
    with path.open("wb") as file:
        file.write(head(model, container, kind))
        for name, weight in model.weights.items():
            own_kind = kind if weight.ndim == 2 else "F32"
            data, held[name] = _encoded(weight, own_kind, container)
            file.write(tensor_head(name, weight.shape, TYPE_IDS[own_kind]))
            if container[0] == "ggjt":
                file.write(bytes(-file.tell() % 32))
            file.write(data)
    return held


def head(model: TinyLlama, container: tuple[str, int] = ("ggjt", 3), kind: str = "F32") -> bytes:
    """Magic, version, hyperparameters, vocabulary."""
    name, version = container
    n_mult = 32
    numbers = (model.n_vocab, model.n_embd, n_mult, model.n_head, model.n_layer, model.head_dim)
    text = struct.pack("<I", MAGICS[name]) + (struct.pack("<I", version) if version else b"")
    text += struct.pack("<7I", *numbers, FILE_TYPES[kind])
    for token_id in range(model.n_vocab):
        piece = token_bytes(token_id)
        text += struct.pack("<I", len(piece)) + piece
        if name != "ggml":
            text += struct.pack("<f", 0.0 if token_id < 259 else 259.0 - token_id)
    return text


def token_bytes(token_id: int) -> bytes:
    """A token as the converters of 2023 wrote it."""
    if token_id < 3:
        return " \u2047 ".encode() if token_id == 0 else b""
    if token_id < 259:
        return bytes([token_id - 3])
    piece = VOCABULARY[token_id] if token_id < len(VOCABULARY) else f"word{token_id}"
    return piece.replace("▁", " ").encode()


def tensor_head(name: str, shape: tuple[int, ...], type_id: int) -> bytes:
    dims = shape[::-1]
    return struct.pack(f"<3I{len(dims)}I", len(dims), len(name), type_id, *dims) + name.encode()


def _encoded(weight: Array, kind: str, container: tuple[str, int]) -> tuple[bytes, Array]:
    if kind == "F32":
        return weight.astype("<f4").tobytes(), weight
    if kind == "F16":
        return weight.astype("<f2").tobytes(), weight.astype("<f2").astype(np.float32)
    scales, minima, numbers = _quantised(weight, kind)
    wide = kind in ("Q4_0", "Q4_1", "Q8_0") and CONTAINERS.index(container) < 4
    if not wide:
        scales, minima = (each.astype("<f2").astype(np.float32) for each in (scales, minima))
    data = b"".join(
        _block(kind, scale, minimum, block, wide, paired=CONTAINERS.index(container) < 3)
        for scale, minimum, block in zip(scales, minima, numbers, strict=True)
    )
    halves, low = (each.astype("<f2").astype(np.float32)[:, None] for each in (scales, minima))
    return data, (halves * numbers + low * (LEVELS[kind][0] == 0)).reshape(weight.shape).astype(np.float32)


def _quantised(weight: Array, kind: str) -> tuple[Array, Array, Array]:
    """Scales, minima and integers of the blocks of 32."""
    blocks = weight.reshape(-1, 32)
    least, most = LEVELS[kind]
    minima = blocks.min(axis=1)
    if least == 0:
        scales = (blocks.max(axis=1) - minima) / most
        numbers = (blocks - minima[:, None]) / scales[:, None]
    else:
        scales = np.abs(blocks).max(axis=1) / most
        numbers = blocks / scales[:, None]
    return scales, minima, np.clip(np.round(numbers), least, most).astype(int)


def _block(kind: str, scale: float, minimum: float, numbers: Array, wide: bool, paired: bool) -> bytes:
    least, _ = LEVELS[kind]
    text = struct.pack("<f" if wide else "<e", scale)
    if kind == "Q8_0":
        return text + numbers.astype("i1").tobytes()
    if least == 0:
        text += struct.pack("<f" if wide else "<e", minimum)
    levels = [int(number) - least for number in numbers]
    if kind in ("Q5_0", "Q5_1"):
        text += struct.pack("<I", sum((level >> 4) << i for i, level in enumerate(levels)))
    pairs = [(2 * i, 2 * i + 1) if paired else (i, i + 16) for i in range(16)]
    return text + bytes(levels[low] & 15 | (levels[high] & 15) << 4 for low, high in pairs)
