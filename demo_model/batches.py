"""Packs documents into rows of a fixed length for training. Several share a row; none sees another."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from demo_model.dialogues import Span, document, long_document
from demo_model.tokenizer import Tokenizer


class Batch(NamedTuple):
    """The arguments of ``Network.forward`` and the tokens that it should predict."""

    ids: Tensor
    positions: Tensor
    mask: Tensor
    chosen: Tensor
    targets: Tensor


class Document(NamedTuple):
    """Token ids, their positions, and for each token whether it is to be predicted."""

    ids: list[int]
    positions: list[int]
    learned: list[bool]


def encode(tokenizer: Tokenizer, spans: list[Span], leaps: dict[int, int]) -> Document:
    """The tokens of a document.

    Args:
        tokenizer: what turns text into ids.
        spans: the document.
        leaps: how many positions are left out before the span of an index.
    """
    ids: list[int] = []
    positions: list[int] = []
    learned: list[bool] = []
    position = 0
    for index, span in enumerate(spans):
        tokens = tokenizer.encode(span.text)
        position += leaps.get(index, 0)
        ids += tokens
        positions += range(position, position + len(tokens))
        learned += [span.learned] * len(tokens)
        position += len(tokens)
    return Document(ids, positions, learned)


def random_leaps(rng: random.Random, spans: list[Span], longest: int) -> dict[int, int]:
    """Leaps for one document in four, so that short ones teach the positions of long ones; before prompts only."""
    if rng.random() < 0.75:
        return {}
    prompts = [i for i, span in enumerate(spans) if i > 0 and not span.learned]
    return {rng.choice(prompts): int(longest ** rng.random())} if prompts else {}


def short_batches(tokenizer: Tokenizer, rng: random.Random) -> Iterator[Batch]:
    """Batches of short documents, without end: 8 rows of 320 tokens."""

    def draw() -> Document:
        spans = document(rng)
        return encode(tokenizer, spans, random_leaps(rng, spans, 1600))

    return _packed(draw, n_rows=8, length=320)


def long_batches(tokenizer: Tokenizer, rng: random.Random) -> Iterator[Batch]:
    """Batches of long documents, without end: 2 rows of 1280 tokens."""
    return _packed(lambda: encode(tokenizer, long_document(rng), {}), n_rows=2, length=1280)


def _packed(draw: Callable[[], Document], n_rows: int, length: int) -> Iterator[Batch]:
    waiting: list[Document] = []
    while True:
        rows: list[list[Document]] = []
        for _ in range(n_rows):
            row: list[Document] = []
            room = length
            while len(waiting) < 64:
                drawn = draw()
                waiting.append(Document(drawn.ids[:length], drawn.positions[:length], drawn.learned[:length]))
            while fitting := next((d for d in waiting if len(d.ids) <= room), None):
                waiting.remove(fitting)
                row.append(fitting)
                room -= len(fitting.ids)
            rows.append(row)
        yield _batch(rows, length)


def _batch(rows: list[list[Document]], length: int) -> Batch:
    shape = (len(rows), length)
    ids, positions, owner = (torch.zeros(shape, dtype=torch.long) for _ in range(3))
    learned = torch.zeros(shape, dtype=torch.bool)
    for r, row in enumerate(rows):
        start = 0
        for number, packed in enumerate(row, start=1):
            end = start + len(packed.ids)
            ids[r, start:end] = torch.tensor(packed.ids)
            positions[r, start:end] = torch.tensor(packed.positions)
            owner[r, start:end] = number
            learned[r, start + 1 : end] = torch.tensor(packed.learned[1:])
            start = end
    mask = (owner[:, None, :, None] == owner[:, None, None, :]).tril()
    return Batch(ids, positions, mask, learned.roll(-1, 1), ids[learned])
