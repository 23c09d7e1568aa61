"""What is known of a model on this disk without loading it: its file's facts and what its header says.

Knows nothing of the network, of workers, or of whoever asks. Headers are read once for each state of a file.
"""

from __future__ import annotations

import functools
import hashlib
import re
from pathlib import Path
from typing import TypedDict

from api_host.gguf_header import Metadata, NotGguf, file_size, read_metadata
from api_host.models.cache import blob_of
from api_host.models.gguf_files import split_parts

# llama.cpp's llama_ftype (include/llama.h): what most of a file's tensors are stored as.
QUANTIZATIONS = {
    0: "F32",
    1: "F16",
    2: "Q4_0",
    3: "Q4_1",
    7: "Q8_0",
    8: "Q5_0",
    9: "Q5_1",
    10: "Q2_K",
    11: "Q3_K_S",
    12: "Q3_K_M",
    13: "Q3_K_L",
    14: "Q4_K_S",
    15: "Q4_K_M",
    16: "Q5_K_S",
    17: "Q5_K_M",
    18: "Q6_K",
    19: "IQ2_XXS",
    20: "IQ2_XS",
    21: "Q2_K_S",
    22: "IQ3_XS",
    23: "IQ3_XXS",
    24: "IQ1_S",
    25: "IQ4_NL",
    26: "IQ3_S",
    27: "IQ3_M",
    28: "IQ2_S",
    29: "IQ2_M",
    30: "IQ4_XS",
    31: "IQ1_M",
    32: "BF16",
    36: "TQ1_0",
    37: "TQ2_0",
    38: "MXFP4_MOE",
}
_SHA256 = re.compile(r"[0-9a-f]{64}")
_REMEMBERED = 256


class ModelDetails(TypedDict):
    """One model on disk.

    ``size`` is in bytes over all parts; ``modified_at`` a Unix time in seconds; ``digest`` the sha256 of the (first)
    file where the hub's cache knows it, else 64 digits that stand for name and size. ``metadata`` are the header's
    values without arrays, without the chat template, which is ``template``. ``quantization`` and ``n_params`` are
    None where the header does not tell.
    """

    name: str
    size: int
    modified_at: float
    digest: str
    metadata: dict[str, int | float | str]
    template: str | None
    quantization: str | None
    n_params: int | None


def details_of(name: str, path: Path) -> ModelDetails:
    """The details of a model; those of its header are empty where it cannot be read.

    Args:
        name: the model's canonical name.
        path: its GGUF; of a split one, the first part.

    Raises:
        OSError: the file has just gone.
    """
    size, facts = file_size(path), path.stat()
    header = _header_of(path)
    values = dict(header.values) if header is not None else {}
    template = values.pop("tokenizer.chat_template", None)
    file_type = values.get("general.file_type")
    return ModelDetails(
        name=name,
        size=size,
        modified_at=facts.st_mtime,
        digest=_digest(name, size, path),
        metadata=values,
        template=template if isinstance(template, str) else None,
        quantization=QUANTIZATIONS.get(file_type) if isinstance(file_type, int) else None,
        n_params=header.n_params if header is not None else None,
    )


def _digest(name: str, size: int, path: Path) -> str:
    blob = blob_of(path).name
    return blob if _SHA256.fullmatch(blob) else hashlib.sha256(f"{name} {size}".encode()).hexdigest()


def _header_of(path: Path) -> Metadata | None:
    """What the header says, with the parameters of all parts; None where one is no GGUF, or may not be read."""
    try:
        first, *rest = [_read(part, part.stat().st_mtime_ns) for part in _parts(path)]
    except (NotGguf, PermissionError):
        return None
    return Metadata(first.values, first.n_params + sum(part.n_params for part in rest))


def _parts(path: Path) -> list[Path]:
    return [path.with_name(name) for name in split_parts(path.name)]


@functools.lru_cache(_REMEMBERED)
def _read(path: Path, changed: int) -> Metadata:
    return read_metadata(path)
