"""Which answers are kept, which are given again, and what of them."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from api_host import errors
from api_host.generation import (
    Accepted,
    Chunk,
    Event,
    Finished,
    LoadOptions,
    SamplingParams,
    TokenLogprob,
    Usage,
)
from api_host.response_cache.answer import unpack
from api_host.response_cache.cached import Use
from api_host.response_cache.replay import Recording
from tests.fakes.pipeline import FakeGeneration, answer
from tests.response_cache.ground import FILE, HI, Ground


def test_the_same_question_is_generated_once(ground: Ground) -> None:
    first, second = ground.ask(), ground.ask()
    assert (first[0], second[0]) == ("miss", "hit")
    assert len(ground.behind.requests) == 1
    accepted, chunk, finished = second[1]
    assert accepted == Accepted("demo", 5)
    assert chunk == Chunk("Hello there", n_tokens=2, finish_reason="stop")
    assert isinstance(finished, Finished)
    assert finished.usage == Usage(prompt_tokens=5, completion_tokens=2, cached_tokens=5)
    assert ground.looked_up("hit")
    assert ground.looked_up("miss")


def test_a_replay_has_all_that_the_first_answer_had(ground: Ground) -> None:
    tops = [TokenLogprob("a", -0.5, [TokenLogprob("b", -1.5)]), TokenLogprob("c", -2.0)]
    chunks = [
        Chunk("x", 1, 1, None, [tops[1]]),
        Chunk("a", 0, 1, None, [tops[0]]),
        Chunk("y", 1, 1, "length", []),
        Chunk("c", 0, 1, "stop", [tops[1]]),
    ]
    ended = Finished(Usage(3, 4), answer("")[-1].timings, [1, 2, 3])  # type: ignore[union-attr]
    ground.behind.script = lambda request: [Accepted("demo", 3, "<|user|>Hi"), *chunks, ended]
    request = dataclasses.replace(
        HI, sampling=SamplingParams(seed=1, n=2, logprobs=1, max_tokens=2), want_tokens=True
    )
    ground.ask(request)
    cache, events = ground.ask(request)
    assert cache == "hit"
    assert events[0] == Accepted("demo", 3, "<|user|>Hi")
    assert events[1:-1] == chunks
    last = events[-1]
    assert isinstance(last, Finished)
    assert (last.tokens, last.usage.completion_tokens) == ([1, 2, 3], 4)


def test_the_pieces_of_each_choice_are_kept_as_one(ground: Ground) -> None:
    pieces = [Chunk("x", 1, 1), Chunk("a", 0, 1), Chunk("y", 1, 1, "length"), Chunk("c", 0, 1, "stop")]
    ground.behind.script = lambda request: [Accepted("demo", 3), *pieces, answer("")[-1]]
    request = dataclasses.replace(HI, sampling=SamplingParams(seed=1, n=2, max_tokens=2))
    ground.ask(request)
    assert ground.ask(request)[1][1:-1] == [Chunk("ac", 0, 2, "stop"), Chunk("xy", 1, 2, "length")]


@pytest.mark.parametrize(
    "asked", [{"each_token": True}, {"sampling": SamplingParams(temperature=0, logprobs=0)}]
)
def test_a_request_about_single_tokens_gets_the_same_pieces_again(
    ground: Ground, asked: dict[str, Any]
) -> None:
    request = dataclasses.replace(HI, **asked)
    first, second = ground.ask(request), ground.ask(request)
    assert second[0] == "hit"
    assert second[1][:-1] == first[1][:-1]


@pytest.mark.parametrize(
    ("sampling", "cache"),
    [
        (SamplingParams(), None),
        (SamplingParams(seed=0), "miss"),
        (SamplingParams(top_k=1), "miss"),
        (SamplingParams(temperature=0), "miss"),
    ],
)
def test_only_what_is_answered_the_same_each_time_is_kept(
    ground: Ground, sampling: SamplingParams, cache: str | None
) -> None:
    request = dataclasses.replace(HI, sampling=sampling)
    assert ground.ask(request)[0] == cache
    assert ground.ask(request)[0] == ("hit" if cache else None)


def test_a_host_with_a_seed_of_its_own_answers_all_the_same_each_time(ground: Ground) -> None:
    ground.pipeline = ground.make(seeded=True)
    request = dataclasses.replace(HI, sampling=SamplingParams())
    assert [ground.ask(request)[0] for _ in range(2)] == ["miss", "hit"]


def test_a_model_that_comes_with_the_request_is_kept_under_its_new_file(ground: Ground) -> None:
    ground.files["demo"] = None
    generation = ground.pipeline.generate(HI)
    ground.files["demo"] = FILE
    list(generation)
    assert ground.ask()[0] == "hit"


def test_an_answer_of_weights_whose_file_was_replaced_is_not_kept(ground: Ground) -> None:
    ground.is_loaded = False
    ground.ask()
    ground.is_loaded = True
    assert [ground.ask()[0] for _ in range(2)] == ["miss", "hit"]


@pytest.mark.parametrize(
    ("limits", "options", "cache"),
    [
        ({"max_tokens": 3}, LoadOptions(), "hit"),
        ({"max_tokens": 4}, LoadOptions(), "miss"),
        ({"max_tokens": 4, "max_length": 8}, LoadOptions(), "hit"),
        ({"max_tokens": 4, "max_length": 9}, LoadOptions(), "miss"),
        ({"max_tokens": 4}, LoadOptions(ctx_length=8), "hit"),
        ({"max_tokens": 4}, LoadOptions(ctx_length=9), "miss"),
    ],
)
@pytest.mark.parametrize("each_token", [False, True])
def test_an_answer_that_the_context_cut_short_is_not_kept(
    ground: Ground, limits: dict[str, int], options: LoadOptions, cache: str, each_token: bool
) -> None:
    ground.behind.script = lambda request: [
        Accepted("demo", 5),
        Chunk("a b", n_tokens=2),
        Chunk(" c", n_tokens=1, finish_reason="length"),
        answer("")[-1],
    ]
    sampling = SamplingParams(temperature=0, **limits)
    request = dataclasses.replace(HI, sampling=sampling, options=options, each_token=each_token)
    assert [ground.ask(request)[0] for _ in range(2)] == ["miss", cache]


def test_hosts_with_other_settings_keep_apart(ground: Ground) -> None:
    ground.ask()
    ground.pipeline = ground.make(scope="ctx_length 128")
    assert ground.ask()[0] == "miss"


def test_what_cannot_be_written_down_is_answered_all_the_same(ground: Ground) -> None:
    request = dataclasses.replace(HI, tools=[{"maximum": 10**30}])
    assert [ground.ask(request)[0] for _ in range(2)] == ["miss", "miss"]


@pytest.mark.parametrize(
    "steps",
    [
        [Accepted("demo", 1), Chunk("Hel"), errors.WorkerDied("gone")],
        [Accepted("demo", 1), Chunk("Hel"), Chunk("", finish_reason="cancelled"), answer("")[-1]],
        [Accepted("demo", 1), Chunk("Hel")],
    ],
)
def test_an_answer_that_is_not_whole_is_not_kept(ground: Ground, steps: list[Any]) -> None:
    ground.behind.script = lambda request: steps
    try:
        ground.ask()
    except errors.WorkerDied:
        assert isinstance(steps[-1], errors.WorkerDied)
    ground.behind.script = lambda request: answer("Hello")
    assert ground.ask()[0] == "miss"


def test_an_answer_that_is_left_half_way_is_not_kept_and_frees_its_place(ground: Ground) -> None:
    events = iter(ground.pipeline.generate(HI))
    next(events)
    events.close()  # type: ignore[attr-defined]
    assert ground.behind.generations[0].ended.is_set()
    assert ground.ask()[0] == "miss"


def test_a_recording_that_is_closed_closes_what_it_records() -> None:
    class Remembered(FakeGeneration):
        def __iter__(self) -> Iterator[Event]:
            self.events = super().__iter__()
            return self.events

    generation = Remembered(answer("Hello"))
    events = iter(Recording(generation, lambda kept: None))
    next(events)
    events.close()  # type: ignore[attr-defined]
    assert generation.ended.is_set()


def test_cancelling_reaches_the_generation_and_ends_a_replay(ground: Ground) -> None:
    recording = ground.pipeline.generate(HI)
    recording.cancel()
    assert ground.behind.generations[0].cancelled.is_set()
    ground.ask()
    replay = ground.pipeline.generate(HI)
    replay.cancel()
    with pytest.raises(errors.Cancelled):
        list(replay)


def test_bytes_that_are_no_answer_are_a_miss(ground: Ground) -> None:
    ground.ask()
    (key,) = ground.store._entries
    for wrong in (b"", b"\xc1", b"\x81\xa1a\x01", b"[]", b"\xa2\xff\xff"):
        assert unpack(wrong) is None
        ground.store.put(key, wrong)
        assert ground.ask()[0] == "miss"


def test_a_request_may_ask_for_a_new_answer_or_to_be_forgotten(ground: Ground) -> None:
    ground.allowed = Use.NONE
    assert ground.ask()[0] is None
    ground.allowed = Use.FULL
    assert ground.ask()[0] == "miss"
    ground.allowed = Use.REFRESH
    ground.behind.script = lambda request: answer("Anew")
    assert ground.ask()[0] == "miss"
    ground.allowed = Use.FULL
    cache, events = ground.ask()
    assert (cache, events[1]) == ("hit", Chunk("Anew", n_tokens=1, finish_reason="stop"))


def test_everything_else_is_the_pipelines_own(ground: Ground) -> None:
    assert ground.pipeline.default_model == "demo"
    assert ground.pipeline.models() == ground.behind.models()
    with pytest.raises(AttributeError):
        ground.pipeline.nothing  # noqa: B018


def test_the_same_question_from_many_threads_gets_whole_answers(ground: Ground) -> None:
    ground.behind.script = lambda request: answer("Hello", " there", pause=0.001)
    texts: list[str] = []

    def ask() -> None:
        for _ in range(20):
            texts.append("".join(event.text for event in ground.ask()[1] if isinstance(event, Chunk)))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert texts == ["Hello there"] * 160
    assert len(ground.behind.requests) <= 8
