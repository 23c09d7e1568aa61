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
    assert share(400, [1000, 100]) == [256, 100]
    assert share(400, [90, 90, 90]) == [90, 90, 90]
    assert share(60, [1000]) == [60]


def test_prefill_adapts_to_its_measured_speed_and_to_the_crowd():
    budget = PrefillBudget(2048)
    assert budget.tokens(n_decoding=0, pending=[900]) == 512
    budget.observe([Span(0, array("i", range(100)), 0)], seconds=0.2)
    assert budget.tokens(n_decoding=4, pending=[900]) == 125
    assert budget.tokens(n_decoding=2, pending=[900] * 2) == 250
    assert budget.tokens(n_decoding=12, pending=[900] * 6) == 625
    assert budget.tokens(n_decoding=2, pending=[900] * 6) == 2000
    assert budget.tokens(n_decoding=0, pending=[1900]) == 500
    assert budget.tokens(n_decoding=0, pending=[900] * 6) == 2000
    guesses = [Span(slot, array("i", range(17)), 0, n_outputs=17) for slot in (0, 1)]
    budget.observe(guesses, seconds=100.0)
    assert budget.tokens(n_decoding=4, pending=[900]) == 125, "guesses tell nothing of prefill"
    budget.observe([Span(0, array("i", range(100)), 0)], seconds=100.0)
    assert budget.tokens(n_decoding=1, pending=[900]) == 64


def test_no_prompt_is_cut_or_left_out_for_being_a_little_too_long():
    budget = PrefillBudget(512)
    budget.observe([Span(0, array("i", range(100)), 0)], seconds=0.2)
    assert budget.tokens(n_decoding=16, pending=[200, 100]) == 200
    assert budget.tokens(n_decoding=16, pending=[300, 100]) == 125
    assert budget.tokens(n_decoding=16, pending=[65, 65, 65]) == 130
    assert budget.tokens(n_decoding=16, pending=[60, 150, 65]) == 125
    assert budget.tokens(n_decoding=16, pending=[20, 30]) == 125


def test_the_first_prompt_of_a_small_context_is_read_whole_as_every_later_one():
    budget = PrefillBudget(256)
    assert share(budget.tokens(n_decoding=0, pending=[65]), [65]) == [65]
    assert budget.tokens(n_decoding=0, pending=[200]) == 64


def test_a_slow_model_reads_a_crowd_in_within_seconds_and_one_prompt_beside_readers_sooner():
    budget = PrefillBudget(512)
    budget.observe([Span(0, array("i", range(100)), 0)], seconds=1.0)
    for n_decoding, n_waiting, n_read in ((0, 16, 6), (1, 15, 6), (7, 9, 6), (13, 3, 1), (15, 1, 1)):
        pending = [65] * n_waiting
        taken = share(budget.tokens(n_decoding, pending), pending)
        assert taken == [65] * n_read + [0] * (n_waiting - n_read)


def test_where_steps_are_short_a_prompt_is_read_in_pieces_that_nobody_notices():
    for per_token, n_read in ((5e-6, 2048), (2.5e-5, 800), (1e-4, 512), (3e-4, 512), (1e-3, 250)):
        budget = PrefillBudget(2048)
        budget.observe([Span(0, array("i", range(100)), 0)], seconds=100 * per_token)
        assert budget.tokens(n_decoding=4, pending=[9000]) == n_read
        assert budget.tokens(n_decoding=0, pending=[9000]) == min(2048, round(1 / per_token))
