"""How much of waiting prompts one step reads."""

from __future__ import annotations

from array import array

import pytest

from api_host.engine.backend import Span
from api_host.engine.prefill import PrefillBudget, share


@pytest.mark.parametrize(
    ("budget", "pending", "taken"),
    [
        (100, [], []),
        (100, [40, 50, 20, 10], [40, 50, 0, 10]),
        (60, [400], [60]),
        (100, [400, 30, 60, 20], [50, 30, 0, 20]),
        (100, [90, 400], [90, 0]),
    ],
)
def test_a_step_reads_whole_prompts_and_cuts_only_the_oldest(
    budget: int, pending: list[int], taken: list[int]
):
    assert share(budget, pending) == taken


def test_a_prompt_that_is_cut_is_read_in_whole_tiles_and_others_are_not_cut_for_them():
    assert share(400, [1000]) == [384]
    assert share(400, [1000], beside_others=True) == [385]
    assert share(400, [1000, 100]) == [257, 100]
    assert share(400, [90, 90, 90], beside_others=True) == [90, 90, 90]


def test_prefill_adapts_to_its_measured_speed_and_to_the_crowd():
    budget = PrefillBudget(512)
    assert budget.tokens(n_decoding=0, n_prefilling=1) == 128
    budget.observe([Span(0, array("i", range(100)), 0)], seconds=0.2)
    assert budget.tokens(n_decoding=4, n_prefilling=1) == 125
    assert budget.tokens(n_decoding=2, n_prefilling=2) == 250
    assert budget.tokens(n_decoding=2, n_prefilling=6) == 500
    assert budget.tokens(n_decoding=0, n_prefilling=1) == 500
    assert budget.tokens(n_decoding=4, n_prefilling=1, oldest=200) == 200, "it is not cut for a little"
    assert budget.tokens(n_decoding=4, n_prefilling=1, oldest=300) == 125
    guesses = [Span(slot, array("i", range(17)), 0, n_outputs=17) for slot in (0, 1)]
    budget.observe(guesses, seconds=100.0)
    assert budget.tokens(n_decoding=4, n_prefilling=1) == 125, "guesses tell nothing of prefill"
    budget.observe([Span(0, array("i", range(100)), 0)], seconds=100.0)
    assert budget.tokens(n_decoding=1, n_prefilling=1) == 65


def test_prompts_leave_the_guesses_their_room_in_the_batch():
    budget = PrefillBudget(64)
    budget.observe([Span(0, array("i", range(64)), 0)], seconds=1e-6)
    assert budget.tokens(n_decoding=2, n_prefilling=1) == 62
    assert budget.tokens(n_decoding=2, n_prefilling=1, n_guessed=16) == 46
