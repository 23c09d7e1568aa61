"""A small LLaMA of random weights, and its forward pass in numpy, to compare a converted model's logits with.

Weights have the names and the shapes (rows first) of Meta's LLaMA, whose wq and wk turn pairs of neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

Array = np.ndarray
ROPE_BASE = 10_000.0

MERGES = ["  ", " t", "he", " c", "at", " the", " cat", "on"]
VOCABULARY = [
    "<unk>",
    "<s>",
    "</s>",
    *(chr(byte) for byte in range(256)),
    *MERGES,
    *" abcdefghijklmnopqrstuvwxyz▁é",
]
"""As SentencePiece numbers them: special tokens, 256 bytes, merges in their order, characters."""


@dataclass
class TinyLlama:
    """``n_head_kv`` smaller than ``n_head`` is grouped-query attention. ``weights`` may be replaced by rounded ones."""

    n_embd: int = 64
    n_head: int = 4
    n_head_kv: int = 4
    n_layer: int = 2
    n_ff: int = 96
    n_vocab: int = len(VOCABULARY)
    seed: int = 1
    weights: dict[str, Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        random = np.random.default_rng(self.seed)
        for name, shape in self.shapes().items():
            if len(shape) == 1:
                weight = 1 + random.normal(size=shape) / 10
            else:
                weight = random.normal(size=shape) / np.sqrt(shape[1])
            # Small embeddings let eps count; large queries make attention sharp, so that positions count.
            scale = {"tok_embeddings.weight": 0.03, "wq.weight": 3.0}
            weight = weight * scale.get(name, scale.get(name.rpartition("attention.")[2], 1.0))
            self.weights.setdefault(name, weight.astype(np.float32))

    @property
    def head_dim(self) -> int:
        return self.n_embd // self.n_head

    def shapes(self) -> dict[str, tuple[int, ...]]:
        d, n_kv = self.n_embd, self.n_head_kv * self.head_dim
        shapes: dict[str, tuple[int, ...]] = {
            "tok_embeddings.weight": (self.n_vocab, d),
            "norm.weight": (d,),
            "output.weight": (self.n_vocab, d),
        }
        for layer in range(self.n_layer):
            of_layer = {
                "attention.wq": (d, d),
                "attention.wk": (n_kv, d),
                "attention.wv": (n_kv, d),
                "attention.wo": (d, d),
                "feed_forward.w1": (self.n_ff, d),
                "feed_forward.w2": (d, self.n_ff),
                "feed_forward.w3": (self.n_ff, d),
                "attention_norm": (d,),
                "ffn_norm": (d,),
            }
            shapes |= {f"layers.{layer}.{name}.weight": shape for name, shape in of_layer.items()}
        return shapes

    def logits(self, tokens: list[int], eps: float, neighbours: bool = True) -> Array:
        """``(tokens, n_vocab)``. ``neighbours`` False turns values i and i + head_dim / 2, as other models do."""
        x = self.weights["tok_embeddings.weight"][tokens].astype(np.float64)
        for layer in range(self.n_layer):
            own = {
                name.removeprefix(f"layers.{layer}."): weight.astype(np.float64)
                for name, weight in self.weights.items()
            }
            x = x + self._attention(_rms_norm(x, own["attention_norm.weight"], eps), own, neighbours)
            y = _rms_norm(x, own["ffn_norm.weight"], eps)
            gate = y @ own["feed_forward.w1.weight"].T
            up = y @ own["feed_forward.w3.weight"].T
            x = x + (gate / (1 + np.exp(-gate)) * up) @ own["feed_forward.w2.weight"].T
        return _rms_norm(x, self.weights["norm.weight"], eps) @ self.weights["output.weight"].T

    def _attention(self, x: Array, own: dict[str, Array], neighbours: bool) -> Array:
        n = len(x)
        q, k, v = (
            (x @ own[f"attention.{name}.weight"].T).reshape(n, -1, self.head_dim).swapaxes(0, 1)
            for name in ("wq", "wk", "wv")
        )
        k, v = (np.repeat(each, self.n_head // self.n_head_kv, axis=0) for each in (k, v))
        scores = _turned(q, neighbours) @ _turned(k, neighbours).swapaxes(1, 2) / np.sqrt(self.head_dim)
        scores = np.where(np.tri(n, dtype=bool), scores, -np.inf)
        shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
        shares /= shares.sum(axis=-1, keepdims=True)
        return (shares @ v).swapaxes(0, 1).reshape(n, -1) @ own["attention.wo.weight"].T


def _rms_norm(x: Array, weight: Array, eps: float) -> Array:
    return x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + eps) * weight


def _turned(x: Array, neighbours: bool) -> Array:
    """Rotary positions for ``(heads, tokens, head_dim)``."""
    _, n, dim = x.shape
    angles = np.arange(n)[:, None] * ROPE_BASE ** (-np.arange(0, dim, 2) / dim)
    cos, sin = np.cos(angles), np.sin(angles)
    a, b = (x[..., 0::2], x[..., 1::2]) if neighbours else (x[..., : dim // 2], x[..., dim // 2 :])
    turned = (a * cos - b * sin, a * sin + b * cos)
    return np.stack(turned, axis=-1).reshape(x.shape) if neighbours else np.concatenate(turned, axis=-1)
