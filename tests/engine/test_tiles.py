"""Short ends of prompts are read with tokens before them where that was seen to be sooner, and nowhere else."""

from __future__ import annotations

import random
from array import array

import pytest

from api_host.engine.backend import Span
from api_host.engine.prefill import TILE
from api_host.engine.scheduler import Scheduler
from api_host.engine.sequence import Request
from api_host.engine.tiles import Tiles
from api_host.generation import SamplingParams
from tests.fakes.llama import FakeLlama, FakeSampler


class Machine:
    """Seconds for a token, for one before it where few are read, and in a tile; off by up to a tenth."""

    def __init__(self, token: float, few: float, tiled: float, seed: int = 1) -> None:
        self._token, self._few, self._tiled = token, few, tiled
        self._dice = random.Random(seed)

    def seconds(self, n_tokens: int, start: int) -> float:
        pair = self._tiled if n_tokens >= TILE else self._few
        return n_tokens * (self._token + pair * (start + n_tokens / 2)) * self._dice.uniform(0.9, 1.1)


def span(n_tokens: int, start: int) -> Span:
    return Span(0, array("i", range(n_tokens)), start, 1)


def chat(machine: Machine, n_turns: int, said: int, answered: int = 60) -> list[int]:
    """How many tokens each turn of a chat reads again."""
    tiles, start, again = Tiles(), 0, []
    for _ in range(n_turns):
        n_again = tiles.missing(said, start)
        read = said + n_again
        tiles.observe([span(read, start - n_again)], machine.seconds(read, start - n_again))
        again.append(n_again)
        start += said + answered
    return again


@pytest.mark.parametrize("seed", range(5))
def test_a_chat_with_a_long_history_fills_tiles_where_few_tokens_take_far_longer(seed: int):
    again = chat(Machine(1e-3, 6e-6, 0.4e-6, seed), 30, said=30)
    assert again[:3] == [0] * 3, "nothing is known"
    assert again[-10:] == [TILE - 30] * 10


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("tiled", [6e-6, 5e-6])
def test_where_a_tile_is_no_faster_it_is_tried_and_given_up(seed: int, tiled: float):
    again = chat(Machine(1e-3, 6e-6, tiled, seed), 60, said=40)
    assert again[-20:] == [0] * 20
    assert sum(map(bool, again)) <= 8


def test_few_tokens_and_short_histories_are_left_alone():
    tiles = Tiles()
    machine = Machine(1e-3, 6e-6, 0.4e-6)
    for start in range(0, 3000, 300):
        tiles.observe([span(30, start)], machine.seconds(30, start))
    assert tiles.missing(30, 2000) == TILE - 30
    assert tiles.missing(30, 200) == tiles.missing(4, 2000) == tiles.missing(TILE, 2000) == 0


def test_what_tells_nothing_is_not_counted():
    tiles = Tiles()
    for start in range(0, 3000, 100):
        tiles.observe([span(30, start), span(31, start)], 1.0 + start)
        tiles.observe([span(8, start)], 1.0 + start)
        tiles.observe([span(30, start)], 0.0)
        tiles.observe([span(512 + 30, start)], 1.0 + start)
        tiles.observe([Span(0, array("i", range(30)), start, 1, shared=array("i", [1]))], 1.0 + start)
    assert tiles.missing(30, 2000) == 0


def test_equal_steps_tell_no_costs_apart():
    tiles = Tiles()
    for _ in range(20):
        tiles.observe([span(30, 1000)], 0.2)
    assert tiles.missing(30, 1000) == 0


class Timed(FakeLlama):
    """A fake whose decodes take their time, as its ``clock`` tells."""

    def __init__(self, machine: Machine, **options: int) -> None:
        super().__init__(**options)
        self.attends_in_tiles = True
        self.now = 0.0
        self._machine = machine

    def decode(self, spans, adapters=()) -> None:  # type: ignore[no-untyped-def]
        spans = list(spans)
        super().decode(spans, adapters)
        self.now += sum(self._machine.seconds(len(span.tokens), span.start) for span in spans)


@pytest.mark.parametrize(
    ("sampling", "filled"), [({}, True), ({"temperature": 0.0}, False), ({"seed": 7}, False)]
)
def test_the_scheduler_reads_again_what_fills_a_tile(sampling: dict[str, float], filled: bool):
    llama = Timed(Machine(1e-5, 6e-8, 0.4e-8), n_ctx=4096, n_slots=1, n_batch=512)
    scheduler = Scheduler(
        llama, llama, lambda params, prompt, index: FakeSampler(llama), clock=lambda: llama.now
    )
    dice = random.Random(3)
    text, read, cached = array("i"), [], []
    for turn in range(30):
        text = text + array("i", (dice.randrange(1, 60) for _ in range(30)))
        request = Request(
            turn, text[:], SamplingParams(max_tokens=20, **sampling), [], 4096, want_tokens=True
        )
        scheduler.submit(request)
        llama.batches.clear()
        while scheduler.has_work:
            scheduler.step()
        read.append(len(llama.batches[0][0].tokens))
        cached.append(request.usage.cached_tokens)
        text = request.sequences[0].tokens[:]
    assert read[-5:] == ([TILE] * 5 if filled else [31] * 5), "a text that is to be the same is read as ever"
    assert cached[-1] == len(request.prompt) - read[-1]
