"""Which slot a prompt gets, and how long the common prefix is."""

from __future__ import annotations

from array import array

import pytest

from api_host.engine.sequence import Request, Sequence
from api_host.engine.slots import Slots, common_prefix
from api_host.generation import SamplingParams
from tests.fakes.llama import FakeLlama


@pytest.mark.parametrize(
    ("a", "b", "length"),
    [
        ([], [], 0),
        ([1], [], 0),
        ([1, 2, 3], [1, 2, 3], 3),
        ([1, 2, 3], [1, 2], 2),
        ([9, 2, 3], [1, 2, 3], 0),
        (list(range(5000)), [*range(4321), -1, *range(600)], 4321),
    ],
)
def test_the_common_prefix_is_exact(a: list[int], b: list[int], length: int):
    assert common_prefix(array("i", a), array("i", b)) == length


def placed(slots: Slots, llama: FakeLlama, tokens: list[int]) -> Sequence:
    """A sequence that got its slot and whose prompt has been read."""
    sequence = Sequence(Request(1, array("i", tokens), SamplingParams(), [], 256, 0.0), 0)
    slots.place(sequence)
    slot = slots[sequence.slot]
    slot.tokens = array("i", tokens)
    llama.cells[slot.id] = list(tokens)
    sequence.n_computed = len(tokens)
    return sequence


def test_a_short_common_prefix_leaves_a_long_cached_prompt_alone():
    llama = FakeLlama(n_slots=2)
    slots = Slots(llama)
    long = list(range(1, 61)) * 3
    slots.release(placed(slots, llama, long))
    other = placed(slots, llama, [1, 2, 3, 99])
    assert other.slot == 1
    assert slots[0].tokens == array("i", long)


def test_the_longest_unused_prefix_is_given_up_first():
    llama = FakeLlama(n_slots=2)
    slots = Slots(llama)
    first, second = placed(slots, llama, [1] * 40), placed(slots, llama, [2] * 40)
    slots.release(second)
    slots.release(first)
    third = placed(slots, llama, [3] * 40)
    assert third.slot == 1


def test_a_prompt_that_goes_on_from_a_slot_stays_in_it():
    llama = FakeLlama(n_slots=3)
    slots = Slots(llama)
    turns = [placed(slots, llama, [i] * 30) for i in (1, 2, 3)]
    for turn in turns:
        slots.release(turn)
    following = placed(slots, llama, [2] * 30 + [7, 8])
    assert following.slot == 1
    assert following.n_cached == 30
    assert llama.n_copies == 0
