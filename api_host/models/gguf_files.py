"""Names of GGUF files in a repository: split parts, quantizations, and which one a short reference means.

Knows only names: neither the disk nor the hub. The same choice is made among the files of a hub repository
and among those of it that are cached.

Split files are named as llama.cpp's ``gguf-split`` does: ``name-00001-of-00003.gguf``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

PREFERRED_QUANTS = (
    "Q4_K_M",
    "Q4_K_S",
    "Q5_K_M",
    "Q4_0",
    "Q8_0",
    "Q6_K",
    "Q5_K_S",
    "Q5_0",
    "Q4_K_XL",
    "Q4_K_L",
    "IQ4_XS",
    "IQ4_NL",
    "MXFP4",
    "Q3_K_M",
    "Q3_K_L",
    "Q3_K_S",
    "Q2_K",
    "F16",
    "BF16",
    "F32",
)
"""Which file ``owner/name`` alone means: the first of these that the repository has."""

_SPLIT = re.compile(r"(?P<stem>.+)-(?P<part>\d{5})-of-(?P<count>\d{5})(?P<end>\.gguf)", re.IGNORECASE)
_COMPANIONS = ("mmproj", "imatrix")


def split_parts(name: str) -> list[str]:
    """All parts of the split GGUF that ``name`` belongs to, in order; ``[name]`` when it is whole."""
    match = _SPLIT.fullmatch(name)
    if match is None or not 1 <= int(match["part"]) <= int(match["count"]):
        return [name]
    count = int(match["count"])
    return [f"{match['stem']}-{part:05}-of-{count:05}{match['end']}" for part in range(1, count + 1)]


def first_part(name: str) -> str:
    """The file that llama.cpp opens: ``name`` itself, or the first part of the split GGUF it belongs to."""
    match = _SPLIT.fullmatch(name)
    if match is None or not 1 <= int(match["part"]) <= int(match["count"]):
        return name
    return f"{match['stem']}-00001-of-{match['count']}{match['end']}"


def models_among(names: Iterable[str]) -> list[str]:
    """The names that can be loaded as a model, sorted: GGUFs, one for a split one, without missing parts.

    Projectors (``mmproj``) and importance matrices (``imatrix``) lie beside models as GGUFs and are none.
    """
    present = set(names)
    found = []
    for name in sorted(present):
        base = name.rpartition("/")[2].lower()
        if not base.endswith(".gguf") or any(word in base for word in _COMPANIONS):
            continue
        if first_part(name) == name and present.issuperset(split_parts(name)):
            found.append(name)
    return found


def pick(names: Iterable[str], quant: str | None) -> str | None:
    """The model that a reference without a file name means.

    Args:
        names: files of one repository.
        quant: the quantization, in any case; None takes the first of PREFERRED_QUANTS that is there, else the
            only model there.

    Returns:
        The name of the file (of the first part), or None when there is no such file, or no way to choose.
    """
    models = models_among(names)
    if quant is not None:
        return _with_quant(models, quant)
    for preferred in PREFERRED_QUANTS:
        found = _with_quant(models, preferred)
        if found is not None:
            return found
    return models[0] if len(models) == 1 else None


def _with_quant(models: list[str], quant: str) -> str | None:
    # Q4_K must match neither Q4_K_M nor IQ4_K; the quantization may stand in the folder's name only.
    pattern = re.compile(rf"(?<![A-Za-z0-9]){re.escape(quant)}(?![A-Za-z0-9_])", re.IGNORECASE)
    in_base = [name for name in models if pattern.search(name.rpartition("/")[2])]
    matching = in_base or [name for name in models if pattern.search(name)]
    return min(matching, key=lambda name: (len(name), name), default=None)
