"""Slots that join a step with a token nobody reads: which they are, and that nobody notices."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from pathlib import Path

import llama_cpp
import numpy as np
import pytest

from api_host.engine.backend import DecodeFailed, Span
from api_host.engine.llama import fillers
from api_host.engine.llama.context import LlamaContext
from api_host.engine.llama.model import LlamaModel
from api_host.models.demo import DEMO_MODEL_PATH
from tests.fakes.architectures import GENERATORS, write_random

N_SLOTS, N_CTX = 4, 256


@pytest.mark.parametrize(
    ("slots", "n_slots", "widest_gap", "added"),
    [
        ([0, 2], 4, 8, [1]),
        ([0, 2, 4, 6], 8, 8, [1, 3, 5]),
        ([1, 4], 8, 2, [2, 3]),
        ([1, 4], 8, 1, []),
        ([0, 10, 12], 16, 8, [11]),
        ([0, 2], 4, 0, []),
        ([3, 4, 5], 8, 8, []),
    ],
)
def test_gaps_that_are_narrow_enough_are_filled(
    slots: list[int], n_slots: int, widest_gap: int, added: list[int]
):
    assert fillers.chosen(slots, n_slots, widest_gap, repacked=False) == added


@pytest.mark.parametrize(
    ("slots", "n_slots", "added"),
    [
        (range(3), 4, [3]),
        (range(3), 3, []),
        (range(1, 4), 4, [0]),
        (range(2, 9), 12, [9]),
        (range(13), 16, [13, 14, 15]),
        (range(1, 14), 15, []),
        (range(1, 15), 16, [15, 0]),
        (range(31), 40, [31]),
        (range(2), 4, []),
        (range(4), 8, []),
        (range(9), 16, []),
        ([0, 1, 3], 8, []),
    ],
)
def test_repacked_weights_get_a_round_number_of_rows(slots: range, n_slots: int, added: list[int]):
    assert fillers.chosen(list(slots), n_slots, widest_gap=0, repacked=True) == added


@pytest.fixture
def context() -> Iterator[LlamaContext]:
    model = LlamaModel(str(DEMO_MODEL_PATH))
    context = LlamaContext(model, N_CTX, N_SLOTS, n_batch=N_CTX, n_threads=1)
    context._fillers._on_gpu = True
    yield context
    context.close()
    model.close()


def text(seed: int, length: int) -> array[int]:
    return array("i", np.random.default_rng(seed).integers(3, 300, length).tolist())


def step(context: LlamaContext, *slots: tuple[int, array[int]]) -> list[np.ndarray]:
    """Decodes the last token of each text; the logits after them."""
    spans = [Span(slot, tokens[-1:], len(tokens) - 1, n_outputs=1) for slot, tokens in slots]
    context.decode(spans)
    context.wait()
    return [context.candidates.logits(context.pointer, span.row).copy() for span in spans]


def read(context: LlamaContext, slot: int, tokens: array[int]) -> None:
    context.decode([Span(slot, tokens, 0)])
    context.wait()


def test_the_others_say_what_they_say_without_and_the_fillers_keep_their_cells(
    context: LlamaContext, monkeypatch: pytest.MonkeyPatch
):
    texts = [text(seed, length) for seed, length in enumerate((20, 12, 30, 9))]

    def outcome() -> list[np.ndarray]:
        for slot in range(N_SLOTS):
            context.clear(slot)
        for slot, tokens in enumerate(texts[:3]):
            read(context, slot, tokens[:-1])
        first = step(context, (0, texts[0]), (2, texts[2]))
        # Slot 1 was a filler with a prefix, slot 3 an empty one: both go on from what they have.
        read(context, 3, texts[3][:-1])
        return [*first, *step(context, (1, texts[1]), (3, texts[3]))]

    plain = outcome()
    seen = []
    monkeypatch.setattr(
        fillers,
        "chosen",
        lambda slots, *_: seen.append(slots) or [slot for slot in range(N_SLOTS) if slot not in slots],
    )
    filled = outcome()
    assert seen == [[0, 2], [1, 3]]
    for with_fillers, without in zip(filled, plain, strict=True):
        assert np.allclose(with_fillers, without, atol=0.02 * np.std(without))


@pytest.mark.parametrize(("on_gpu", "length"), [(True, N_CTX), (False, 20)])
def test_a_slot_without_room_is_no_filler_nor_on_a_cpu_a_long_one(
    context: LlamaContext, monkeypatch: pytest.MonkeyPatch, on_gpu: bool, length: int
):
    monkeypatch.setattr(fillers, "chosen", lambda *_: [1])
    monkeypatch.setattr(context._fillers, "_on_gpu", on_gpu)
    read(context, 1, text(1, length))
    read(context, 0, text(0, 5))
    read(context, 2, text(2, 5))
    spans = [Span(slot, text(slot, 6)[-1:], 5, n_outputs=1) for slot in (0, 2)]
    assert context._fillers.join(spans) == spans
    assert llama_cpp.llama_memory_seq_pos_max(context._memory, 1) == length - 1


def test_a_failed_step_leaves_the_fillers_as_they_were(
    context: LlamaContext, monkeypatch: pytest.MonkeyPatch
):
    tokens = text(1, 10)
    read(context, 1, tokens[:-1])
    expected = step(context, (1, tokens))[0]
    context.trim(1, len(tokens) - 1)
    monkeypatch.setattr(fillers, "chosen", lambda *_: [1])
    beyond = array("i", [context.model.n_vocab])
    with pytest.raises(DecodeFailed):
        context.decode([Span(0, beyond, 0, 1), Span(2, beyond, 0, 1)])
    assert np.allclose(step(context, (1, tokens))[0], expected, atol=0.02 * np.std(expected))
    assert llama_cpp.llama_memory_seq_pos_max(context._memory, 1) == len(tokens) - 1


@pytest.mark.parametrize("name", GENERATORS)
def test_models_that_would_lose_cells_for_it_have_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
):
    monkeypatch.setattr(fillers, "chosen", lambda *_: pytest.fail("there are none to choose"))
    model = LlamaModel(str(write_random(tmp_path / "model.gguf", name, DEMO_MODEL_PATH)))
    context = LlamaContext(model, N_CTX, N_SLOTS, n_batch=N_CTX, n_threads=1)
    for slot in (0, 2):
        read(context, slot, text(slot, 5))
    step(context, (0, text(0, 6)), (2, text(2, 6)))
    context.close()
    model.close()
