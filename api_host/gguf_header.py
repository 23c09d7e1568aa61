"""Reads the few numbers of a GGUF's header that say how much memory weights and context will take.

Knows nothing of tensors or vocabularies: it stops at the first key of the tokenizer. The format is ggml's
docs/gguf.md, versions 2 and 3.
"""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import BinaryIO, Literal

_SCALARS = {
    0: "<B",
    1: "<b",
    2: "<H",
    3: "<h",
    4: "<I",
    5: "<i",
    6: "<f",
    7: "<?",
    10: "<Q",
    11: "<q",
    12: "<d",
}
_STRING, _ARRAY = 8, 9
_MAX_TEXT = 1 << 20
_MAX_ITEMS = 4096

Value = int | float | str | list[int]
CacheType = Literal["f16", "q8_0", "q4_0"]
# Bytes of one value of the KV cache; quantised ones share a scale of 2 bytes in blocks of 32.
_KV_VALUE_BYTES: dict[CacheType, float] = {"f16": 2.0, "q8_0": 34 / 32, "q4_0": 18 / 32}
_FIRST_PART = re.compile(r"(.*)-00001-of-(\d{5})\.gguf")


class NotGguf(ValueError):
    """The file does not begin as a GGUF does, or ends inside its header."""


def read_header(path: Path) -> dict[str, Value]:
    """The metadata before the tokenizer's: numbers, short texts, and arrays of numbers.

    Raises:
        NotGguf: not a GGUF, or cut off in its header.
        OSError: not readable.
    """
    values: dict[str, Value] = {}
    with path.open("rb") as file:
        try:
            if file.read(4) != b"GGUF" or _number(file, "<I") not in (2, 3):
                raise NotGguf(f"{path.name} is not a GGUF file of version 2 or 3")
            _number(file, "<Q")
            for _ in range(int(_number(file, "<Q"))):
                key = _text(file)
                if key.startswith("tokenizer."):
                    break
                value = _value(file, int(_number(file, "<I")))
                if value is not None:
                    values[key] = value
        except struct.error as error:
            raise NotGguf(f"{path.name} ends inside its header") from error
    return values


def _number(file: BinaryIO, kind: str) -> float:
    number: float = struct.unpack(kind, file.read(struct.calcsize(kind)))[0]
    return number


def _text(file: BinaryIO) -> str:
    length = int(_number(file, "<Q"))
    if length > _MAX_TEXT:
        raise NotGguf(f"a text of {length} bytes in the header")
    return file.read(length).decode("utf-8", "replace")


def _value(file: BinaryIO, kind: int) -> Value | None:
    if kind == _STRING:
        return _text(file)
    if kind == _ARRAY:
        return _array(file)
    if kind not in _SCALARS:
        raise NotGguf(f"unknown value type {kind} in the header")
    return _number(file, _SCALARS[kind])


def _array(file: BinaryIO) -> list[int] | None:
    kind, count = int(_number(file, "<I")), int(_number(file, "<Q"))
    if kind == _STRING:
        for _ in range(count):
            _text(file)
        return None
    if kind not in _SCALARS or count > _MAX_ITEMS:
        raise NotGguf("an array in the header that is no list of numbers")
    return [int(_number(file, _SCALARS[kind])) for _ in range(count)]


def architecture_number(header: dict[str, Value], key: str) -> int:
    """A number of the model's architecture; 0 where there is none, or one for each layer."""
    value = header.get(f"{header.get('general.architecture')}.{key}")
    return int(value) if isinstance(value, (int, float)) else 0


def kv_bytes_per_token(header: dict[str, Value], cache_type: CacheType = "f16") -> int:
    """Bytes of one token's keys and values over all layers; layers without attention count 0."""
    n_layer = architecture_number(header, "block_count")
    n_head = architecture_number(header, "attention.head_count") or 1
    head = architecture_number(header, "embedding_length") // n_head
    key_length = architecture_number(header, "attention.key_length") or head
    value_length = architecture_number(header, "attention.value_length") or head
    heads = header.get(f"{header.get('general.architecture')}.attention.head_count_kv", n_head)
    n_head_kv = sum(heads) if isinstance(heads, list) else int(heads) * n_layer
    return int(n_head_kv * (key_length + value_length) * _KV_VALUE_BYTES[cache_type])


def file_size(path: Path) -> int:
    """Bytes of a GGUF, all parts of a split one together. Raises OSError when one is not there."""
    split = _FIRST_PART.fullmatch(path.name)
    if split is None:
        return path.stat().st_size
    n_parts = int(split[2])
    names = [f"{split[1]}-{part:05d}-of-{split[2]}.gguf" for part in range(1, n_parts + 1)]
    return sum(path.with_name(name).stat().st_size for name in names)
