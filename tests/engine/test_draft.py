"""Guesses of a draft model, on fakes of both models: what they save, what they cost, and that no text changes."""

from __future__ import annotations

import gc
import weakref
from array import array
from collections.abc import Callable

import pytest

from api_host.engine.draft import Draft
from api_host.engine.guessing import FirstOf, GuessLength
from api_host.engine.lookup import PromptLookup
from tests.engine.test_scheduler import Run, looping_next_token, prompt
from tests.fakes.llama import EOG, FakeDraft, FakeSampler, next_token, text_alone

NEVER: Callable[[int], bool] = lambda n: False  # noqa: E731
ALWAYS: Callable[[int], bool] = lambda n: True  # noqa: E731


def drafted(draft: FakeDraft, most: int = 8, **options: object) -> Run:
    """A scheduler on a fake with a draft model beside it."""
    return Run(n_slots=draft.n_slots, guesser=FirstOf([Draft(draft, most)]), **options)


@pytest.mark.parametrize("wrong", [NEVER, ALWAYS, lambda n: n % 2 == 0, lambda n: n % 5 == 0])
@pytest.mark.parametrize("most", [1, 3, 8])
@pytest.mark.parametrize("n_requests", [1, 2, 3, 7])
def test_no_text_changes_however_good_the_draft_is(
    wrong: Callable[[int], bool], most: int, n_requests: int
) -> None:
    run = drafted(FakeDraft(wrong), most)
    prompts = {i: prompt(i, length=5 + 13 * i) for i in range(1, n_requests + 1)}
    for i, tokens in prompts.items():
        run.submit(i, tokens, max_tokens=40)
    run.until_idle()
    assert {i: run.text[i, 0] for i in prompts} == {i: text_alone(p, 40) for i, p in prompts.items()}
    assert set(run.reasons.values()) == {"length"}
    assert {run.finished[i].usage.completion_tokens for i in prompts} == {40}
    assert FakeSampler.n_open == 0


@pytest.mark.parametrize("n_requests", [1, 2])
def test_a_draft_that_is_right_saves_most_batches_of_the_model(n_requests: int) -> None:
    draft = FakeDraft()
    run = drafted(draft)
    for i in range(n_requests):
        run.submit(i, prompt(i, length=10), max_tokens=81)
    run.until_idle()
    # One for the prompt; guesses of 2, 4 and then 8, each with the token behind them.
    assert len(run.llama.batches) == 1 + 2 + 8
    assert len(draft.batches) == 2 + 4 + 8 * 8
    # All texts go on in the same batches.
    assert all(len(batch) == n_requests for batch in draft.batches)


def test_a_draft_that_is_wrong_is_asked_ever_less_often() -> None:
    draft = FakeDraft(ALWAYS)
    run = drafted(draft)
    run.submit(1, prompt(1), max_tokens=200)
    run.until_idle()
    assert len(run.llama.batches) == 200
    assert draft.n_asked < 20


def test_a_draft_that_is_not_sure_guesses_nothing_and_is_asked_ever_less_often() -> None:
    draft = FakeDraft(probability=0.4)
    run = drafted(draft)
    run.submit(1, prompt(1), max_tokens=200)
    run.until_idle()
    assert run.text[1, 0] == text_alone(prompt(1), 200)
    assert all(len(span.tokens) == 1 for batch in run.llama.batches for span in batch)
    assert draft.n_asked < 10


def test_no_more_is_guessed_than_the_text_may_still_grow() -> None:
    for max_tokens in range(1, 12):
        run = drafted(FakeDraft(n_ctx=64), n_ctx=64)
        run.submit(1, prompt(1, length=64 - max_tokens), max_tokens=100)
        run.until_idle()
        assert run.text[1, 0] == text_alone(prompt(1, length=64 - max_tokens), max_tokens)


def test_a_draft_with_a_shorter_context_guesses_as_long_as_the_text_fits_it() -> None:
    draft = FakeDraft(n_ctx=40)
    run = drafted(draft)
    run.submit(1, prompt(1, length=20), max_tokens=100)
    run.until_idle()
    assert run.text[1, 0] == text_alone(prompt(1, length=20), 100)
    assert 60 < len(run.llama.batches) < 90


@pytest.mark.parametrize("knows_the_end", [True, False])
def test_a_text_ends_at_a_guessed_end(monkeypatch: pytest.MonkeyPatch, knows_the_end: bool) -> None:
    def ending(cells: list[int]) -> int:
        return EOG if len(cells) % 25 == 0 else next_token(cells)

    monkeypatch.setattr("tests.fakes.llama.next_token", ending)
    draft = FakeDraft(n_slots=1)
    if not knows_the_end:
        monkeypatch.setattr(draft, "is_eog", lambda token: False)
    run = drafted(draft)
    run.submit(1, prompt(1, length=10), max_tokens=100)
    run.until_idle()
    assert run.reasons[1, 0] == "stop"
    assert run.text[1, 0] == text_alone(prompt(1, length=10), 15)
    guessed = [token for batch in run.llama.batches for span in batch for token in span.tokens]
    assert (EOG in guessed) == (not knows_the_end)
    run.submit(2, array("i", [*prompt(1, length=10), 5]), max_tokens=5)
    assert run.until_idle().text[2, 0] == text_alone(array("i", [*prompt(1, length=10), 5]), 5)


def test_a_stop_string_ends_a_text_in_the_midst_of_a_guess() -> None:
    pieces = text_alone(prompt(1), 8).replace("><", "> <").split()
    run = drafted(FakeDraft())
    run.submit(1, prompt(1), max_tokens=50, stop=[pieces[5]])
    run.until_idle()
    assert (run.text[1, 0], run.reasons[1, 0]) == ("".join(pieces[:5]), "stop")


def test_a_long_prompt_is_read_in_pieces_that_keep_steps_short() -> None:
    draft = FakeDraft(n_ctx=2000, n_batch=128)
    run = drafted(draft, n_ctx=2000, n_batch=128)
    run.submit(1, prompt(1, length=1000), max_tokens=60)
    run.submit(2, prompt(2, length=20), max_tokens=60)
    run.until_idle()
    assert {i: run.text[i, 0] for i in (1, 2)} == {
        1: text_alone(prompt(1, length=1000), 60),
        2: text_alone(prompt(2, length=20), 60),
    }
    pieces = [len(span.tokens) for batch in draft.batches for span in batch if span.start < 1000]
    assert max(pieces) <= 128
    assert draft.n_read < 1000 + 200


def test_a_reused_slot_keeps_what_both_texts_begin_with() -> None:
    draft = FakeDraft(n_slots=1)
    run = drafted(draft)
    run.submit(1, prompt(1, length=60), max_tokens=10)
    run.until_idle()
    n_read = draft.n_read
    longer = array("i", [*prompt(1, length=60), 9, 9, 9])
    run.submit(2, longer, max_tokens=10)
    run.until_idle()
    assert run.text[2, 0] == text_alone(longer, 10)
    assert draft.n_read < n_read + 20
    run.submit(3, prompt(3, length=30), max_tokens=10)
    assert run.until_idle().text[3, 0] == text_alone(prompt(3, length=30), 10)


def test_a_prefix_that_another_slot_knows_is_copied() -> None:
    draft = FakeDraft(n_slots=2)
    run = drafted(draft)
    run.submit(1, prompt(length=150), max_tokens=20, n=2)
    run.until_idle()
    assert 1 <= draft.n_copies <= 2
    assert draft.n_read < 150 + 2 * 32
    assert run.text[1, 0] == run.text[1, 1] == text_alone(prompt(length=150), 20)


def test_cancelling_leaves_nothing_behind_and_the_others_alone() -> None:
    draft = FakeDraft(n_slots=2)
    run = drafted(draft)
    run.submit(1, prompt(1, length=30), max_tokens=100)
    run.submit(2, prompt(2, length=40), max_tokens=30)
    for _ in range(4):
        run.step()
    ended = weakref.ref(run.scheduler._running[0])
    run.scheduler.cancel(1)
    run.submit(3, prompt(3, length=35), max_tokens=30)
    run.until_idle()
    assert {i: run.text[i, 0] for i in (2, 3)} == {
        2: text_alone(prompt(2, length=40), 30),
        3: text_alone(prompt(3, length=35), 30),
    }
    gc.collect()
    assert ended() is None
    assert FakeSampler.n_open == 0


def test_beside_many_sequences_nothing_is_guessed() -> None:
    draft = FakeDraft()
    run = drafted(draft)
    for i in (1, 2, 3):
        run.submit(i, prompt(i, length=10), max_tokens=20)
    run.until_idle()
    assert draft.batches == []


def test_a_model_that_cannot_drop_guesses_gets_none() -> None:
    draft = FakeDraft()
    run = drafted(draft, can_trim=False)
    run.submit(1, prompt(1), max_tokens=20)
    assert run.until_idle().text[1, 0] == text_alone(prompt(1), 20)
    assert draft.batches == []


@pytest.mark.parametrize("recovers", [True, False])
def test_a_draft_that_fails_costs_no_request(recovers: bool) -> None:
    draft = FakeDraft(poison=int(text_alone(prompt(1), 9).split("<")[-1][:-1]))
    run = drafted(draft)
    run.submit(1, prompt(1), max_tokens=80)
    run.submit(2, prompt(2), max_tokens=80)
    n_before = 0
    while run.scheduler.has_work:
        run.step()
        if recovers and not n_before and [] in draft.cells[:2]:
            draft.poison, n_before = -1, len(run.llama.batches)
    assert run.failed == {}
    assert {i: run.text[i, 0] for i in (1, 2)} == {i: text_alone(prompt(i), 80) for i in (1, 2)}
    if recovers:
        assert 0 < n_before < len(run.llama.batches) < 25


def test_a_model_that_fails_on_a_guessed_token_fails_only_the_request_that_fails_alone() -> None:
    run = drafted(FakeDraft(), poison=61)
    run.submit(1, prompt(1, length=20), max_tokens=10)
    for _ in range(3):
        run.step()
    run.submit(2, prompt(61, length=20), max_tokens=10)
    run.until_idle()
    assert list(run.failed) == [2]
    assert run.text[1, 0] == text_alone(prompt(1, length=20), 10)


def test_guesses_and_prompts_share_the_room_of_a_batch() -> None:
    run = drafted(FakeDraft(n_ctx=2000, n_batch=64), most=16, n_ctx=2000, n_batch=64)
    for i in (1, 2):
        run.submit(i, prompt(i, length=10), max_tokens=300)
    for _ in range(8):
        run.step()
    run.submit(3, prompt(3, length=900), max_tokens=5)
    run.until_idle()
    # The fake fails when a batch is too large.
    assert max(sum(len(span.tokens) for span in batch) for batch in run.llama.batches) == 64
    assert run.text[3, 0] == text_alone(prompt(3, length=900), 5)


def test_the_text_itself_is_asked_before_the_draft(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.fakes.llama.next_token", looping_next_token)
    alone, after_lookup = FakeDraft(n_slots=1), FakeDraft(n_slots=1)
    texts, n_batches = [], []
    for draft, sources in ((alone, []), (after_lookup, [PromptLookup()])):
        run = Run(n_slots=1, guesser=FirstOf([*sources, Draft(draft, 8)]))
        run.submit(1, prompt(1, length=12), max_tokens=100)
        texts.append(run.until_idle().text[1, 0])
        n_batches.append(len(run.llama.batches))
    assert texts[0] == texts[1]
    assert 0 < after_lookup.n_asked < alone.n_asked
    assert max(n_batches) < 60


def test_guesses_grow_with_right_ones_and_pause_longer_after_each_wrong_one() -> None:
    length = GuessLength(8)
    grown = []
    for _ in range(4):
        grown.append(length.next())
        length.judged(grown[-1], grown[-1])
    assert grown == [2, 4, 8, 8]
    length.judged(8, 5)
    assert length.next() == 8
    for pause in (1, 2, 4, 8, 16, 32, 64, 64):
        length.judged(8, 1)
        assert [length.next() for _ in range(pause + 1)] == [0] * pause + [2]
    length.judged(2, 2)
    length.judged(4, 0)
    assert [length.next(), length.next()] == [0, 2]
    assert GuessLength(1).next() == 1
