"""A small llama in PyTorch: RMSNorm, rotary positions, SwiGLU, tied embeddings, as llama.cpp's ``llama`` computes it.

Knows nothing about text. Rotary positions turn neighbouring pairs of a head's values, as llama.cpp does for this
architecture, so the weights need no permutation on their way into a GGUF.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Shape:
    """The sizes of the network. Rows of all matrices are multiples of 32 values, which Q8_0 asks for."""

    n_vocab: int
    n_ctx_train: int = 2048
    n_embd: int = 192
    n_layer: int = 4
    n_head: int = 6
    n_ff: int = 512
    rope_freq_base: float = 10000.0
    norm_eps: float = 1e-5

    @property
    def head_dim(self) -> int:
        return self.n_embd // self.n_head


def rotation(shape: Shape, positions: Tensor) -> Tensor:
    """The unit complex numbers that turn each pair of a head's values, by position: [..., 1, head_dim / 2]."""
    exponents = torch.arange(0, shape.head_dim, 2) / shape.head_dim
    angles = positions[..., None, None] * shape.rope_freq_base**-exponents
    return torch.polar(torch.ones_like(angles), angles)


def _rotate(x: Tensor, turns: Tensor) -> Tensor:
    pairs = torch.view_as_complex(x.view(*x.shape[:-1], -1, 2))
    return torch.view_as_real(pairs * turns).flatten(-2)


class Block(nn.Module):
    """One layer: attention, then the feed-forward network, each on a normalised copy of the stream."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        n_embd, n_ff = shape.n_embd, shape.n_ff
        self.n_head = shape.n_head
        self.attn_norm = nn.RMSNorm(n_embd, eps=shape.norm_eps)
        self.attn_q = nn.Linear(n_embd, n_embd, bias=False)
        self.attn_k = nn.Linear(n_embd, n_embd, bias=False)
        self.attn_v = nn.Linear(n_embd, n_embd, bias=False)
        self.attn_output = nn.Linear(n_embd, n_embd, bias=False)
        self.ffn_norm = nn.RMSNorm(n_embd, eps=shape.norm_eps)
        self.ffn_gate = nn.Linear(n_embd, n_ff, bias=False)
        self.ffn_up = nn.Linear(n_embd, n_ff, bias=False)
        self.ffn_down = nn.Linear(n_ff, n_embd, bias=False)
        nn.init.zeros_(self.attn_output.weight)
        nn.init.zeros_(self.ffn_down.weight)

    def forward(self, x: Tensor, turns: Tensor, mask: Tensor) -> Tensor:
        x = x + self._attend(self.attn_norm(x), turns, mask)
        h = self.ffn_norm(x)
        fed: Tensor = self.ffn_down(F.silu(self.ffn_gate(h)) * self.ffn_up(h))
        return x + fed

    def _attend(self, h: Tensor, turns: Tensor, mask: Tensor) -> Tensor:
        heads = (-1, h.shape[-1] // self.n_head)
        q = _rotate(self.attn_q(h).unflatten(-1, heads), turns).transpose(1, 2)
        k = _rotate(self.attn_k(h).unflatten(-1, heads), turns).transpose(1, 2)
        v = self.attn_v(h).unflatten(-1, heads).transpose(1, 2)
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        output: Tensor = self.attn_output(attended.transpose(1, 2).flatten(2))
        return output


class Network(nn.Module):
    """Token ids in, the logits of the chosen positions out."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.token_embd = nn.Embedding(shape.n_vocab, shape.n_embd)
        self.blk = nn.ModuleList(Block(shape) for _ in range(shape.n_layer))
        self.output_norm = nn.RMSNorm(shape.n_embd, eps=shape.norm_eps)
        nn.init.normal_(self.token_embd.weight, std=0.05)

    def forward(self, ids: Tensor, positions: Tensor, mask: Tensor, chosen: Tensor) -> Tensor:
        """The logits at the positions where ``chosen`` is true: [n_chosen, n_vocab].

        Args:
            ids: token ids, [rows, length].
            positions: the place of each token in its document, same shape.
            mask: true where a token may look at another, [rows, 1, length, length].
            chosen: true where the next token is to be predicted, same shape as ids.
        """
        x = self.token_embd(ids)
        turns = rotation(self.shape, positions.float())
        for block in self.blk:
            x = block(x, turns, mask)
        return F.linear(self.output_norm(x[chosen]), self.token_embd.weight)
