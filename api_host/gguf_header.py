"""Reads a GGUF's header: the few numbers that say how much memory a model will take, or all that it says.

Knows nothing of vocabularies or of the tensors' bytes. The format is ggml's docs/gguf.md, versions 2 and 3.
"""

from __future__ import annotations

import math
import os
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

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
_MAX_DIMENSIONS = 8

Value = int | float | str | list[int]
_FIRST_PART = re.compile(r"(.*)-00001-of-(\d{5})\.gguf")


class NotGguf(ValueError):
    """The file does not begin as a GGUF does, or ends inside its header."""


def read_header(path: Path) -> dict[str, Value]:
    """The metadata but the tokenizer's: numbers, short texts, and arrays of numbers.

    The tokenizer's is long and nearly always the last, so what follows it is read only where the model's own figures
    have not come before.

    Raises:
        NotGguf: not a GGUF, or cut off in its header.
        OSError: not readable.
    """
    values: dict[str, Value] = {}
    with path.open("rb") as file:
        try:
            _, n_values = _begin(file, path)
            for _ in range(n_values):
                key = _text(file)
                of_tokenizer = key.startswith("tokenizer.")
                if of_tokenizer and architecture_number(values, "block_count"):
                    break
                kind = int(_number(file, "<I"))
                if of_tokenizer:
                    _skip(file, kind)
                elif (value := _value(file, kind)) is not None:
                    values[key] = value
        except struct.error as error:
            raise NotGguf(f"{path.name} ends inside its header") from error
    return values


@dataclass
class Metadata:
    """All that a header says: its ``values`` without arrays, and how many parameters the tensors of the file hold."""

    values: dict[str, int | float | str]
    n_params: int


def read_metadata(path: Path) -> Metadata:
    """The whole header, the tokenizer's keys and the tensors' shapes included. Raises as ``read_header``."""
    values: dict[str, int | float | str] = {}
    with path.open("rb") as file:
        try:
            n_tensors, n_values = _begin(file, path)
            for _ in range(n_values):
                key, kind = _text(file), int(_number(file, "<I"))
                if kind == _ARRAY:
                    _skip(file, kind)
                else:
                    value = _value(file, kind)
                    if isinstance(value, (int, float, str)):
                        values[key] = value
            return Metadata(values, sum(_tensor_size(file) for _ in range(n_tensors)))
        except struct.error as error:
            raise NotGguf(f"{path.name} ends inside its header") from error


def _begin(file: BinaryIO, path: Path) -> tuple[int, int]:
    """The numbers of tensors and of values."""
    if file.read(4) != b"GGUF" or _number(file, "<I") not in (2, 3):
        raise NotGguf(f"{path.name} is not a GGUF file of version 2 or 3")
    return int(_number(file, "<Q")), int(_number(file, "<Q"))


def _skip(file: BinaryIO, kind: int) -> None:
    """Goes past a value, of which only its bounds are read."""
    if kind != _ARRAY:
        _value(file, kind)
        return
    kind, count = int(_number(file, "<I")), int(_number(file, "<Q"))
    if kind in _SCALARS:
        n_bytes = count * struct.calcsize(_SCALARS[kind])
        if n_bytes > os.fstat(file.fileno()).st_size:
            raise NotGguf(f"an array of {n_bytes} bytes in the header, more than the file has")
        file.seek(n_bytes, 1)
        return
    if kind != _STRING:
        raise NotGguf("an array in the header that holds neither numbers nor texts")
    for _ in range(count):
        length = int(_number(file, "<Q"))
        if length > _MAX_TEXT:
            raise NotGguf(f"a text of {length} bytes in the header")
        file.read(length)


def _tensor_size(file: BinaryIO) -> int:
    """The values of the next tensor that the header tells of: name, dimensions, type and offset."""
    _text(file)
    n_dimensions = int(_number(file, "<I"))
    if n_dimensions > _MAX_DIMENSIONS:
        raise NotGguf(f"a tensor of {n_dimensions} dimensions in the header")
    size = math.prod(int(_number(file, "<Q")) for _ in range(n_dimensions))
    _number(file, "<I")
    _number(file, "<Q")
    return size


def _number(file: BinaryIO, kind: str) -> float:
    number: float = struct.unpack(kind, file.read(struct.calcsize(kind)))[0]
    return number


def _text(file: BinaryIO) -> str:
    length = int(_number(file, "<Q"))
    if length > _MAX_TEXT:
        raise NotGguf(f"a text of {length} bytes in the header")
    return file.read(length).decode("utf-8", "replace")


def _value(file: BinaryIO, kind: int) -> Value | None:
    """The next value; None for texts in an array, and for infinity and NaN, which neither JSON nor a sum knows."""
    if kind == _STRING:
        return _text(file)
    if kind == _ARRAY:
        return _array(file)
    if kind not in _SCALARS:
        raise NotGguf(f"unknown value type {kind} in the header")
    number = _number(file, _SCALARS[kind])
    return number if math.isfinite(number) else None


def _array(file: BinaryIO) -> list[int] | None:
    kind, count = int(_number(file, "<I")), int(_number(file, "<Q"))
    if kind == _STRING:
        for _ in range(count):
            _text(file)
        return None
    if kind not in _SCALARS or count > _MAX_ITEMS:
        raise NotGguf("an array in the header that is no list of numbers")
    return [as_count(_number(file, _SCALARS[kind])) for _ in range(count)]


def as_count(value: object) -> int:
    """A number of a header as a count of something; 0 for what is none."""
    return max(0, int(value)) if isinstance(value, (int, float)) and math.isfinite(value) else 0


def architecture_number(header: dict[str, Value], key: str) -> int:
    """A number of the model's architecture; 0 where there is none, or one for each layer."""
    return as_count(header.get(f"{header.get('general.architecture')}.{key}"))


def file_size(path: Path) -> int:
    """Bytes of a GGUF, all parts of a split one together. Raises OSError when one is not there."""
    split = _FIRST_PART.fullmatch(path.name)
    if split is None:
        return path.stat().st_size
    n_parts = int(split[2])
    names = [f"{split[1]}-{part:05d}-of-{split[2]}.gguf" for part in range(1, n_parts + 1)]
    return sum(path.with_name(name).stat().st_size for name in names)
