"""The scheduler on a fake of the llama interface: what it decodes, whom it serves, what it leaves behind."""

from __future__ import annotations

from array import array
from collections import defaultdict

import pytest

from api_host.engine.lookup import PromptLookup
from api_host.engine.messages import Piece, RequestAccepted, RequestFailed, RequestFinished
from api_host.engine.scheduler import Scheduler
from api_host.engine.sequence import Request
from api_host.errors import ContextLengthExceeded, QueueFull
from api_host.generation import SamplingParams
from tests.fakes.llama import FakeLlama, FakeSampler, next_token, text_alone


class Run:
    """A scheduler on a fake, and what it has said so far, by request."""

    def __init__(self, **options: object) -> None:
        queue_limit, guesser = options.pop("queue_limit", 100), options.pop("guesser", None)
        self.llama = FakeLlama(**options)  # type: ignore[arg-type]
        self.scheduler = Scheduler(
            self.llama,
            self.llama,
            lambda params, prompt, index: FakeSampler(self.llama),
            queue_limit,
            guesser,
        )
        self.text: dict[tuple[int, int], str] = defaultdict(str)
        self.reasons: dict[tuple[int, int], str] = {}
        self.finished: dict[int, RequestFinished] = {}
        self.failed: dict[int, RequestFailed] = {}
        self.accepted: list[int] = []
        FakeSampler.n_open = 0

    def submit(self, id: int, prompt: array[int], n_ctx: int | None = None, **sampling: object) -> None:
        params = SamplingParams(**sampling)  # type: ignore[arg-type]
        self.scheduler.submit(Request(id, prompt, params, params.stop, n_ctx or 1_000_000))

    def step(self) -> None:
        self.scheduler.step()
        for event in self.scheduler.take_events():
            match event:
                case RequestAccepted():
                    self.accepted.append(event.id)
                case Piece():
                    assert (event.id, event.index) not in self.reasons, "a piece after the end"
                    self.text[event.id, event.index] += event.text
                    if event.finish_reason:
                        self.reasons[event.id, event.index] = event.finish_reason
                case RequestFinished():
                    self.finished[event.id] = event
                case RequestFailed():
                    self.failed[event.id] = event

    def until_idle(self, most: int = 10_000) -> Run:
        for _ in range(most):
            if not self.scheduler.has_work:
                return self
            self.step()
        raise AssertionError(f"still busy after {most} steps")


def prompt(*tokens: int, length: int = 0) -> array[int]:
    """The tokens, followed by a fixed filling up to ``length``."""
    filling = [(7 * i) % 60 + 1 for i in range(max(0, length - len(tokens)))]
    return array("i", [*tokens, *filling])


def test_a_sequence_in_a_full_batch_says_what_it_says_alone():
    run = Run(n_slots=4, n_batch=16)
    prompts = {i: prompt(i, length=5 + 13 * i) for i in range(1, 9)}
    for i, tokens in prompts.items():
        run.submit(i, tokens, max_tokens=20)
    run.until_idle()
    assert {i: run.text[i, 0] for i in prompts} == {i: text_alone(p, 20) for i, p in prompts.items()}
    assert set(run.reasons.values()) == {"length"}
    assert FakeSampler.n_open == 0


def test_a_reused_slot_keeps_the_longest_common_prefix():
    run = Run(n_slots=1)
    run.submit(1, prompt(1, 2, 3, 4, 5, 6), max_tokens=4)
    run.until_idle()
    run.submit(2, prompt(1, 2, 3, 4, 9, 9, 9), max_tokens=4)
    run.until_idle()
    assert run.finished[2].usage.cached_tokens == 4
    assert run.text[2, 0] == text_alone(prompt(1, 2, 3, 4, 9, 9, 9), 4)


def test_the_same_prompt_again_decodes_one_token_for_its_logits():
    run = Run(n_slots=1)
    for i in (1, 2):
        run.submit(i, prompt(length=50), max_tokens=3)
        run.until_idle()
    assert run.finished[2].usage.cached_tokens == 49
    assert run.text[1, 0] == run.text[2, 0]


def test_requests_that_arrive_together_pay_their_common_prefix_once():
    run = Run(n_slots=4, n_batch=64)
    prompts = {i: array("i", [*prompt(length=150), i, i]) for i in range(1, 5)}
    for i, tokens in prompts.items():
        run.submit(i, tokens, max_tokens=5)
    run.until_idle()
    n_read = sum(len(span.tokens) for batch in run.llama.batches for span in batch)
    assert n_read < 150 + 4 * 10
    assert run.llama.n_copies == 3
    assert {i: run.text[i, 0] for i in prompts} == {i: text_alone(p, 5) for i, p in prompts.items()}


def test_a_prefix_is_copied_from_a_running_sequence():
    run = Run(n_slots=2)
    run.submit(1, prompt(length=100), max_tokens=50)
    for _ in range(20):
        run.step()
    run.submit(2, array("i", [*prompt(length=100), 5]), max_tokens=5)
    run.until_idle()
    assert run.finished[2].usage.cached_tokens == 100
    assert run.text[2, 0] == text_alone(array("i", [*prompt(length=100), 5]), 5)
    assert run.text[1, 0] == text_alone(prompt(length=100), 50)


def test_who_waits_for_a_prefix_goes_on_alone_when_its_leader_is_cancelled():
    run = Run(n_slots=2, n_batch=32)
    run.submit(1, prompt(length=200), max_tokens=5)
    run.submit(2, array("i", [*prompt(length=180), 3]), max_tokens=5)
    for _ in range(2):
        run.step()
    run.scheduler.cancel(1)
    run.until_idle()
    assert run.text[2, 0] == text_alone(array("i", [*prompt(length=180), 3]), 5)
    assert run.finished[2].usage.cached_tokens > 0
    assert 1 not in run.finished


@pytest.mark.parametrize("length", [3, 40])
def test_n_choices_read_their_prompt_once(length: int):
    run = Run(n_slots=4)
    run.submit(1, prompt(length=length), max_tokens=6, n=3)
    run.until_idle()
    assert [run.text[1, i] for i in range(3)] == [text_alone(prompt(length=length), 6)] * 3
    assert run.finished[1].usage.completion_tokens == 18
    assert run.finished[1].usage.prompt_tokens == length


def test_a_model_that_cannot_drop_part_of_a_sequence_says_the_same():
    run = Run(n_slots=2, can_trim=False)
    tokens = prompt(length=60)
    run.submit(1, tokens, max_tokens=5)
    run.until_idle()
    run.submit(2, tokens, max_tokens=5)
    run.submit(3, array("i", [*tokens[:40], 9]), max_tokens=5)
    run.until_idle()
    assert run.text[2, 0] == text_alone(tokens, 5)
    assert run.text[3, 0] == text_alone(array("i", [*tokens[:40], 9]), 5)
    assert run.finished[2].usage.cached_tokens == run.finished[3].usage.cached_tokens == 0


def test_such_a_model_goes_on_from_a_whole_sequence():
    run = Run(n_slots=2, can_trim=False)
    tokens = prompt(length=30)
    run.submit(1, tokens, max_tokens=1)
    run.until_idle()
    longer = array("i", [*tokens, 5, 6])
    run.submit(2, longer, max_tokens=4)
    run.until_idle()
    assert run.finished[2].usage.cached_tokens == 30
    assert run.text[2, 0] == text_alone(longer, 4)


def test_a_decode_that_fails_ends_only_the_request_that_fails_alone():
    run = Run(n_slots=4, poison=61)
    good = {i: prompt(i, length=20) for i in (1, 3, 4)}
    for i, tokens in good.items():
        run.submit(i, tokens, max_tokens=10)
    for _ in range(4):
        run.step()
    run.submit(2, prompt(61, length=20), max_tokens=10)
    run.until_idle()
    assert list(run.failed) == [2]
    assert run.failed[2].code == "generation_failed"
    assert {i: run.text[i, 0] for i in good} == {i: text_alone(p, 10) for i, p in good.items()}
    assert FakeSampler.n_open == 0


def test_a_prompt_that_does_not_fit_is_refused_with_the_numbers():
    run = Run(n_ctx=32)
    with pytest.raises(ContextLengthExceeded) as caught:
        run.submit(1, prompt(length=32))
    assert caught.value.details == {"n_prompt_tokens": 32, "n_ctx": 32}
    with pytest.raises(ContextLengthExceeded):
        run.submit(1, prompt(length=16), n_ctx=16)
    run.submit(2, prompt(length=31), max_tokens=100)
    run.until_idle()
    assert run.reasons[2, 0] == "length"
    assert run.finished[2].usage.completion_tokens == 1


def test_a_full_queue_refuses_and_says_its_limit():
    run = Run(n_slots=1, queue_limit=2)
    for i in (1, 2):
        run.submit(i, prompt(i), max_tokens=4)
    run.step()
    run.submit(3, prompt(3), max_tokens=4)
    with pytest.raises(QueueFull) as caught:
        run.submit(4, prompt(4))
    assert caught.value.details == {"limit": 2}
    assert caught.value.retry_after
    run.until_idle()
    assert sorted(run.finished) == [1, 2, 3]


def test_cancelling_frees_the_slot_at_once_whether_it_waits_reads_or_writes():
    run = Run(n_slots=1, n_batch=16)
    run.submit(1, prompt(1, length=200), max_tokens=50)
    run.submit(2, prompt(2), max_tokens=50)
    run.submit(3, prompt(3), max_tokens=3)
    run.step()
    run.scheduler.cancel(2)
    run.scheduler.cancel(1)
    run.scheduler.cancel(1)
    run.until_idle()
    assert list(run.finished) == [3]
    assert run.text[3, 0] == text_alone(prompt(3), 3)
    assert len(run.llama.batches) < 10
    assert FakeSampler.n_open == 0


def test_a_stop_string_ends_the_text_before_it():
    alone = text_alone(prompt(1), 8)
    pieces = alone.replace("><", "> <").split()
    run = Run()
    run.submit(1, prompt(1), max_tokens=50, stop=[pieces[3][1:] + pieces[4]])
    run.until_idle()
    assert run.text[1, 0] == "".join(pieces[:3]) + "<"
    assert run.reasons[1, 0] == "stop"


def test_a_long_prompt_is_read_in_pieces_beside_a_running_sequence():
    run = Run(n_slots=2, n_batch=64, n_ctx=2000)
    run.submit(1, prompt(1), max_tokens=100)
    run.step()
    run.submit(2, prompt(2, length=1000), max_tokens=2)
    before = len(run.text[1, 0])
    for _ in range(10):
        run.step()
    assert (2, 0) not in run.text
    assert run.text[1, 0][before:].count("<") == 5


def test_a_short_prompt_does_not_wait_until_a_long_one_is_read():
    run = Run(n_slots=3, n_batch=64, n_ctx=2000)
    run.submit(1, prompt(1, length=1500), max_tokens=2)
    run.step()
    run.submit(2, prompt(2, length=10), max_tokens=2)
    for _ in range(4):
        run.step()
    assert 2 in run.finished
    assert (1, 0) not in run.text
    run.until_idle()
    assert run.text[1, 0] == text_alone(prompt(1, length=1500), 2)


def test_the_statistics_count_what_runs_what_waits_and_the_cells():
    run = Run(n_slots=2, n_ctx=100, n_batch=128)
    for i in (1, 2, 3):
        run.submit(i, prompt(i, length=10), max_tokens=5)
    run.step()
    stats = run.scheduler.stats
    assert (stats.n_running, stats.n_waiting, stats.cells_used, stats.cells_total) == (2, 1, 20, 200)
    run.until_idle()
    stats = run.scheduler.stats
    assert (stats.n_running, stats.n_waiting) == (0, 0)


def looping_next_token(cells: list[int]) -> int:
    """A model that says one of two periods of its text again, and now and then something else."""
    return next_token(cells) if len(cells) % 17 == 0 else cells[-5]


@pytest.mark.parametrize("max_tokens", [1, 2, 7, 60])
def test_guessing_changes_no_text_and_saves_steps(monkeypatch: pytest.MonkeyPatch, max_tokens: int):
    monkeypatch.setattr("tests.fakes.llama.next_token", looping_next_token)
    plain, guessing = Run(n_slots=2), Run(n_slots=2, guesser=PromptLookup())
    for run in (plain, guessing):
        run.submit(1, prompt(1, length=12), max_tokens=max_tokens)
        run.submit(2, prompt(2, length=30), max_tokens=max_tokens, stop=["<4"])
        run.until_idle()
    assert guessing.text == plain.text
    assert guessing.reasons == plain.reasons
    assert guessing.finished[1].usage == plain.finished[1].usage
    if max_tokens == 60:
        assert len(guessing.llama.batches) < 0.6 * len(plain.llama.batches)
    guessing.submit(3, array("i", [*prompt(1, length=12), 9]), max_tokens=max_tokens)
    plain.submit(3, array("i", [*prompt(1, length=12), 9]), max_tokens=max_tokens)
    assert guessing.until_idle().text[3, 0] == plain.until_idle().text[3, 0]
