"""The outside of a GGML file: which container it is, and the model's hyperparameters, each within its bounds.

Knows neither tokens nor tensors. Little-endian; u32 unless said otherwise:

    magic      "ggml", "ggmf" or "ggjt" as a number, so the letters stand in the file backwards
    version    not in ggml; ggmf: 1; ggjt: 1, 2, 3
    n_vocab n_embd n_mult n_head n_layer n_rot ftype
    vocabulary (vocabulary.py), tensors (tensors.py) up to the end of the file

What each container changed: ggmf added the version and the tokens' scores; ggjt v1 aligned tensors to 32 bytes;
v2 changed the order of 4-bit values in a block; v3 made the scales of Q4_0, Q4_1 and Q8_0 half-precision.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass, fields
from pathlib import Path

from api_host.models.ggml.source import Source

_NAMES = {b"lmgg": "ggml", b"fmgg": "ggmf", b"tjgg": "ggjt"}
_OTHERS = {
    b"GGUF": "a GGUF already",
    b"algg": "a LoRA adapter, no model",
    b"nsgg": "a saved session, no model",
}
_VERSIONS = {"ggmf": (1,), "ggjt": (1, 2, 3)}
_MAX_FTYPE = 18


@dataclass(frozen=True)
class Container:
    """``version`` is 0 for ggml, which has none."""

    name: str
    version: int

    def __str__(self) -> str:
        return f"{self.name} v{self.version}" if self.version else self.name

    @property
    def has_scores(self) -> bool:
        return self.name != "ggml"

    @property
    def alignment(self) -> int:
        """Tensor data begins at a multiple of this many bytes from the file's beginning."""
        return 32 if self.name == "ggjt" else 1

    @property
    def pairs_neighbours(self) -> bool:
        """Whether one byte holds values 2i and 2i+1 of a block, instead of i and i+16 as today."""
        return self.name != "ggjt" or self.version < 2

    @property
    def has_f32_scales(self) -> bool:
        """Whether Q4_0, Q4_1 and Q8_0 have scales of 4 bytes, instead of 2 as today."""
        return self.name != "ggjt" or self.version < 3

    @property
    def has_k_quants(self) -> bool:
        return not self.has_f32_scales


@dataclass(frozen=True)
class Hyperparameters:
    """As in the file. ``n_mult`` rounded the feed-forward length up once; the tensors say what came out."""

    n_vocab: int
    n_embd: int
    n_mult: int
    n_head: int
    n_layer: int
    n_rot: int
    ftype: int

    @property
    def head_dim(self) -> int:
        return self.n_embd // self.n_head


# n_vocab: three special tokens, 256 bytes and a word; 512 layers is the most that llama.cpp takes.
_BOUNDS = Hyperparameters(
    n_vocab=1 << 20, n_embd=1 << 16, n_mult=1 << 20, n_head=1024, n_layer=512, n_rot=1 << 16, ftype=_MAX_FTYPE
)
_LEAST = Hyperparameters(n_vocab=260, n_embd=2, n_mult=0, n_head=1, n_layer=1, n_rot=2, ftype=0)


def is_ggml(path: Path) -> bool:
    """Whether the file begins as one of the three containers; False where there is no readable file."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(4) in _NAMES
    except OSError:
        return False


def read_container(source: Source) -> Container:
    """The magic and the version. Raises ModelLoadFailed for all but the five containers there were."""
    magic = source.take(4, "its first number")
    if magic not in _NAMES:
        what = _OTHERS.get(magic, "no GGML file: it begins with none of ggml, ggmf, ggjt")
        raise source.refused(f"it is {what}")
    name = _NAMES[magic]
    if name == "ggml":
        return Container(name, 0)
    (version,) = source.unpack("I", "its version")
    if version not in _VERSIONS[name]:
        known = ", ".join(map(str, _VERSIONS[name]))
        raise source.refused(f"{name} version {version} is unknown; there were {known}")
    return Container(name, version)


def read_hyperparameters(source: Source) -> Hyperparameters:
    """The seven numbers. Raises ModelLoadFailed where one is out of bounds or they contradict each other."""
    numbers = Hyperparameters(*source.unpack("7I", "its hyperparameters"))
    names = [field.name for field in fields(Hyperparameters)]
    for name, number, least, most in zip(
        names, astuple(numbers), astuple(_LEAST), astuple(_BOUNDS), strict=True
    ):
        if not least <= number <= most:
            raise source.refused(
                f"{name} is {number} in its header, not {least} to {most}: no LLaMA model, or damaged"
            )
    if numbers.n_embd % numbers.n_head or numbers.n_rot != numbers.head_dim or numbers.n_rot % 2:
        raise source.refused(
            f"n_embd {numbers.n_embd}, n_head {numbers.n_head} and n_rot {numbers.n_rot} do not fit together"
            " (n_rot = n_embd / n_head, even): no LLaMA model, or damaged"
        )
    return numbers
