"""Ends of prompts behind one prefix, read together in a context of their own: the same logits, the same cells."""

from __future__ import annotations

import random
from array import array
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import llama_cpp
import numpy as np
import pytest

from api_host.engine.backend import DecodeFailed, Span
from api_host.engine.llama.context import LlamaContext
from api_host.engine.llama.model import LlamaModel
from api_host.models.demo import DEMO_MODEL_PATH
from tests.fakes.architectures import write_random

# Other pieces and tiles round differently; wrong cells move logits by about their spread.
ROUNDING = 0.12
N_SLOTS = 4
N_CTX = 2048


class House:
    """The demo model's slots, a fresh context to compare with, and random tokens."""

    def __init__(self, n_slots: int = N_SLOTS) -> None:
        self._model = LlamaModel(str(DEMO_MODEL_PATH))
        self.slots = LlamaContext(self._model, N_CTX, n_slots, n_batch=512, n_threads=1)
        self._fresh = LlamaContext(self._model, N_CTX, 1, n_batch=512, n_threads=1)
        self._dice = random.Random(1)
        self.texts = [array("i")] * n_slots

    def words(self, n: int) -> array[int]:
        return array("i", (self._dice.randrange(300, 690) for _ in range(n)))

    def prompts(self, prefix: array[int]) -> None:
        """The prefix in all slots; the copies wait for the next decode."""
        for slot in range(self.slots.n_slots):
            self.slots.clear(slot)
        read(self.slots, prefix)
        for slot in range(1, self.slots.n_slots):
            self.slots.copy(0, slot, len(prefix))
        self.texts = [prefix[:] for _ in self.texts]

    def go_on(self, ends: list[array[int]], shared: array[int] | None) -> list[bool]:
        """Reads an end in each slot and compares the logits; returns which of them were read beside the slots."""
        spans = []
        for slot, end in enumerate(ends):
            spans.append(Span(slot, end, len(self.texts[slot]), 1, shared=shared))
            self.texts[slot] = self.texts[slot] + end
        self.slots.decode(spans)
        for span, text in zip(spans, self.texts, strict=True):
            found = self.slots.logits(span.row).copy()
            self._fresh.clear(0)
            wanted = read(self._fresh, text)
            assert np.abs(found - wanted).max() / wanted.std() < ROUNDING
        return [span.row < 0 for span in spans]

    def close(self) -> None:
        self.slots.close()
        self._fresh.close()
        self._model.close()


def read(context: LlamaContext, text: array[int]) -> np.ndarray:
    for begin in range(0, len(text), 512):
        span = Span(0, text[begin : begin + 512], begin, n_outputs=int(begin + 512 >= len(text)))
        context.decode([span])
    return context.logits(span.row)


@pytest.fixture
def house() -> Iterator[House]:
    made = House()
    yield made
    made.close()


def test_ends_are_read_beside_the_slots_and_their_cells_come_back(house: House):
    for length in (400, 700, 300):
        prefix = house.words(length)
        house.prompts(prefix)
        ends = [house.words(n) for n in (30, 20, 63, 21)]
        assert house.go_on(ends, prefix) == [False, True, True, True], "one makes the copies"
        assert house.go_on([house.words(1) for _ in ends], None) == [False] * 4
        for slot in range(N_SLOTS):
            house.slots.trim(slot, length)
            house.texts[slot] = prefix[:]
        assert house.go_on([house.words(n) for n in (9, 20, 30, 40)], prefix) == [True] * 4
        assert house.go_on([house.words(1) for _ in ends], None) == [False] * 4


def test_more_ends_than_are_computed_at_once_are_read_beside_the_slots_too():
    with closing(House(n_slots=9)) as house:
        prefix = house.words(400)
        house.prompts(prefix)
        assert house.go_on([house.words(56) for _ in range(9)], prefix) == [False] + [True] * 8
        assert house.go_on([house.words(1) for _ in range(9)], None) == [False] * 9


def test_ends_that_fill_no_tile_are_read_in_their_slots(house: House):
    prefix = house.words(300)
    house.prompts(prefix)
    house.go_on([house.words(1) for _ in range(N_SLOTS)], None)
    assert house.go_on([house.words(15) for _ in range(N_SLOTS)], prefix) == [False] * 4


@pytest.mark.parametrize("lacking", ["memory", "context"])
def test_without_memory_they_are_read_in_their_slots(
    house: House, lacking: str, monkeypatch: pytest.MonkeyPatch
):
    prefix = house.words(300)
    house.prompts(prefix)
    if lacking == "memory":
        monkeypatch.setattr("api_host.engine.llama.shared_prefix.free_memory", lambda: 1 << 20)
    else:
        monkeypatch.setattr(llama_cpp, "llama_init_from_model", lambda model, params: None)
    assert house.go_on([house.words(40) for _ in range(N_SLOTS)], prefix) == [False] * 4


@pytest.mark.parametrize("taken", [[0], [1, 0], [1, 1, 0]])
def test_cells_that_are_not_taken_fail_the_decode_once(
    house: House, taken: list[int], monkeypatch: pytest.MonkeyPatch
):
    prefix = house.words(300)
    house.prompts(prefix)
    with monkeypatch.context() as patched, pytest.raises(DecodeFailed):
        answers = iter(taken)
        patched.setattr(llama_cpp, "llama_state_seq_set_data", lambda *_: next(answers))
        house.go_on([house.words(40) for _ in range(N_SLOTS)], prefix)
    assert house.slots._shared is not None and house.slots._shared.pointer is None, (
        "its memory is not given back"
    )
    house.prompts(prefix)
    assert house.go_on([house.words(40) for _ in range(N_SLOTS)], prefix) == [False] * 4


@pytest.mark.parametrize("type", ["q8_0", "q4_0"])
def test_a_cache_for_which_llama_cpp_has_no_tiles_is_left_alone(house: House, type: str):
    other = LlamaContext(house.slots.model, 512, 2, 512, 1, cache_type=type)
    assert house.slots.reads_together and not other.reads_together
    other.close()


def test_a_model_that_turns_by_the_length_of_its_context_is_left_alone(tmp_path: Path):
    header = {"llama.rope.scaling.original_context_length": 1024}
    model = LlamaModel(str(write_random(tmp_path / "long.gguf", "llama", DEMO_MODEL_PATH, header=header)))
    context = LlamaContext(model, 512, 2, 512, 1)
    assert not context.reads_together
    context.close()
    model.close()
