"""Which ends of prompts are read together, on the fake of the llama interface."""

from __future__ import annotations

import random
from array import array

import pytest

from api_host.engine.backend import Span
from api_host.engine.prefill import AT_ONCE
from api_host.engine.shared_ends import READ_AGAIN
from tests.engine.test_scheduler import Run
from tests.fakes.llama import text_alone

PREFIX = array("i", ((5 * i) % 60 + 1 for i in range(400)))


def asked(run: Run, *prompts: array[int]) -> list[list[Span]]:
    """The batches in which spans were told of a prefix; every text is what it is alone."""
    first = len(run.accepted)
    for id, prompt in enumerate(prompts, first):
        run.submit(id, prompt, max_tokens=3)
    run.until_idle()
    for id, prompt in enumerate(prompts, first):
        assert run.text[id, 0] == text_alone(prompt, 3)
    return [shared for batch in run.llama.batches if (shared := [span for span in batch if span.shared])]


def house(n_slots: int = 4, n_batch: int = 2048) -> Run:
    run = Run(n_ctx=2048, n_slots=n_slots, n_batch=n_batch)
    run.llama.reads_together = True
    return run


def end(seed: int, length: int, begins: int | None = None) -> array[int]:
    dice = random.Random(seed)
    words = array("i", (dice.randrange(1, 60) for _ in range(length)))
    words[0] = 60 if begins is None else begins
    return words


def test_ends_that_come_together_behind_a_prefix_are_told_of_it():
    run = house()
    ends = [end(seed, 25, begins=seed) for seed in range(1, 5)]
    (spans,) = asked(run, *(PREFIX + words for words in ends))
    assert [span.shared == PREFIX for span in spans] == [True] * 3, "the first of them reads the prefix"
    assert [span.start for span in spans] == [400] * 3
    assert [span.tokens for span in spans] == ends[1:]


def test_what_some_have_in_common_beyond_it_is_read_again():
    run = house()
    longer = PREFIX + end(1, READ_AGAIN)
    asked(run, longer + end(2, 3))
    prompts = [longer + end(3, 20, begins=3), longer + end(4, 21, begins=4), PREFIX + end(5, 22, begins=5)]
    (spans,) = asked(run, *prompts)
    assert sorted((span.start, len(span.tokens)) for span in spans) == [
        (400, 22),
        (400, READ_AGAIN + 20),
        (400, READ_AGAIN + 21),
    ]


@pytest.mark.parametrize(
    ("prefix", "lengths"),
    [(100, [30] * 4), (400, [16] * 4), (400, [70] * 4), (400, [30] * 2), (400, [2] * 4)],
    ids=["short prefix", "few tokens", "long ends", "one behind the first", "nothing of an end"],
)
def test_others_are_not(prefix: int, lengths: list[int]):
    prompts = [PREFIX[:prefix] + end(i, n, begins=i + 1) for i, n in enumerate(lengths)]
    assert asked(house(), *prompts) == []


def test_no_more_are_told_than_fit_one_pass_or_a_batch():
    prompts = [PREFIX + end(i, 60, begins=i + 1) for i in range(14)]
    shared = asked(house(n_slots=14), *prompts)
    assert [sum(len(span.tokens) for span in spans) for spans in shared] == [AT_ONCE // 60 * 60]
    longer = PREFIX + end(1, 10)
    prompts = [PREFIX + end(50, 30, 50), *(longer + end(i, 30, begins=i + 1) for i in range(4))]
    run = house(n_slots=5, n_batch=150)
    asked(run, *prompts)
    assert max(sum(len(span.tokens) for span in batch) for batch in run.llama.batches) <= 150


def test_a_backend_that_does_not_read_them_together_is_told_nothing():
    run = house()
    run.llama.reads_together = False
    assert asked(run, *(PREFIX + end(seed, 25, begins=seed) for seed in range(1, 5))) == []
