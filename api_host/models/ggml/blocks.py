"""How tensor values lie in bytes: the types there were, and old blocks written as today's.

Knows nothing of files. A quantised block holds 32 (k-quants: 256) values of one row. Today's layouts are those of
ggml's ``ggml-common.h``. Before:

- ggml, ggmf, ggjt v1: a byte of 4-bit values holds values 2i (low) and 2i+1 (high). Putting them into today's order,
  i and i+16, is exact. The fifth bits of Q5_0 and Q5_1 stand in the order of the values, then as now.
- up to ggjt v2: Q4_0, Q4_1 and Q8_0 have float32 scales (and minima). They are rounded to float16, which is what
  quantising from scratch does today: a scale moves by at most 1/2048 of itself, the integers stay.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from api_host.models.ggml.container import Container

_Field = tuple[str, str, tuple[int, ...]]


@dataclass(frozen=True)
class TensorType:
    """A type of tensor: its name, the values and (today's) bytes of a block.

    ``layout`` names the parts of a block of 32 that older files have otherwise: scales, fifth bits, integers.
    """

    name: str
    n_values: int
    n_bytes: int
    layout: tuple[_Field, ...] = ()

    @property
    def is_k_quant(self) -> bool:
        return self.n_values == 256


_D: _Field = ("d", "<f2", ())
_M: _Field = ("m", "<f2", ())
_FIFTH_BITS: _Field = ("qh", "u1", (4,))
_NIBBLES: _Field = ("qs", "u1", (16,))
_BYTES: _Field = ("bytes", "i1", (32,))

TENSOR_TYPES = {
    0: TensorType("F32", 1, 4),
    1: TensorType("F16", 1, 2),
    2: TensorType("Q4_0", 32, 18, (_D, _NIBBLES)),
    3: TensorType("Q4_1", 32, 20, (_D, _M, _NIBBLES)),
    6: TensorType("Q5_0", 32, 22, (_D, _FIFTH_BITS, _NIBBLES)),
    7: TensorType("Q5_1", 32, 24, (_D, _M, _FIFTH_BITS, _NIBBLES)),
    8: TensorType("Q8_0", 32, 34, (_D, _BYTES)),
    10: TensorType("Q2_K", 256, 84),
    11: TensorType("Q3_K", 256, 110),
    12: TensorType("Q4_K", 256, 144),
    13: TensorType("Q5_K", 256, 176),
    14: TensorType("Q6_K", 256, 210),
}
"""By the number that stands in the file, which is still a GGUF's today."""

GONE_TYPES = {4: "Q4_2", 5: "Q4_3"}


class ScaleTooLarge(ValueError):
    """A float32 scale has no float16, as it never has in a sound file."""


def block_bytes(kind: TensorType, container: Container) -> int:
    """Bytes of one block in a file of this container."""
    n_scales = sum(field in (_D, _M) for field in kind.layout)
    return kind.n_bytes + 2 * n_scales * _widens(kind, container)


def as_today(kind: TensorType, container: Container, raw: bytes) -> bytes:
    """Whole blocks of one tensor, as llama.cpp reads them today.

    Raises:
        ScaleTooLarge: a scale is beyond float16.
    """
    reorders = _NIBBLES in kind.layout and container.pairs_neighbours
    if not reorders and not _widens(kind, container):
        return raw
    import numpy as np

    old = np.frombuffer(raw, np.dtype([_as_before(field, kind, container) for field in kind.layout]))
    new = np.empty(len(old), np.dtype(list(kind.layout)))
    for name, _, _ in kind.layout:
        if name == "qs" and reorders:
            new[name] = _apart(old[name])
        elif old.dtype[name] != new.dtype[name]:
            new[name] = _half(old[name])
        else:
            new[name] = old[name]
    return new.tobytes()


def _widens(kind: TensorType, container: Container) -> bool:
    return kind.name in ("Q4_0", "Q4_1", "Q8_0") and container.has_f32_scales


def _as_before(field: _Field, kind: TensorType, container: Container) -> _Field:
    name, number, shape = field
    return (name, "<f4" if field in (_D, _M) and _widens(kind, container) else number, shape)


def _apart(pairs: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """``(n, 16)`` bytes of values 2i | 2i+1, as bytes of values i | i+16."""
    import numpy as np

    values = np.stack([pairs & 0x0F, pairs >> 4], axis=-1).reshape(len(pairs), 32)
    return values[:, :16] | values[:, 16:] << 4


def _half(scales: NDArray[np.float32]) -> NDArray[np.float16]:
    import numpy as np

    with np.errstate(over="ignore"):
        halves = scales.astype("<f2")
    if not np.isfinite(halves).all():
        raise ScaleTooLarge
    return halves
