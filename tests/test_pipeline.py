"""The way of a request through the pipeline, with a real pool on fake workers."""

from __future__ import annotations

import itertools
import threading
import time
from typing import Any

import pytest

from api_host.answering import Generation
from api_host.engine.messages import Piece, RequestAccepted
from api_host.errors import (
    ApiHostError,
    Cancelled,
    ContextLengthExceeded,
    HostStopping,
    HubUnreachable,
    InvalidRequest,
    ModelFileNotFound,
    ModelLoadFailed,
    ModelNotNamed,
    WorkerDied,
)
from api_host.generation import (
    Accepted,
    EmbeddingRequest,
    Finished,
    GenerationRequest,
    LoadOptions,
    Timings,
    Usage,
    Vectors,
    Waiting,
)
from api_host.models.reference import parse_reference
from api_host.pipeline import Pipeline
from tests.fakes.house import ANSWER, A, B, House


class Consumer:
    """Iterates over a generation in a thread of its own."""

    def __init__(self, generation: Generation) -> None:
        self.events: list[Any] = []
        self.error: ApiHostError | None = None
        self.first = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(generation,))
        self._thread.start()

    def _run(self, generation: Generation) -> None:
        try:
            for event in generation:
                self.events.append(event)
                self.first.set()
        except ApiHostError as error:
            self.error = error

    def join(self, timeout: float = 15) -> None:
        self._thread.join(timeout)
        assert not self._thread.is_alive(), "the iteration did not end"


def test_an_answer_is_accepted_chunks_finished(house: House) -> None:
    house.source.gate.set()
    list(house.pipeline.load(A, LoadOptions()))
    assert list(house.ask()) == ANSWER
    assert house.is_free()


def test_waiting_for_a_download_tells_the_bytes_at_once(house: House) -> None:
    house.source.gate.clear()
    consumer = Consumer(house.ask())
    assert consumer.first.wait(5)
    house.source.gate.set()
    consumer.join()
    waits = [event for event in consumer.events if isinstance(event, Waiting)]
    assert waits[0].status in ("loading", "downloading")
    assert [event for event in consumer.events if not isinstance(event, Waiting)] == ANSWER


def test_waiting_goes_on_while_a_download_does(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api_host.answering.PROGRESS_EVERY_S", 0.02)
    house.source.gate.clear()
    events = iter(house.ask())
    half_way = Waiting("downloading", {"file": A, "bytes_done": 500, "bytes_total": 1000})
    assert half_way in itertools.islice(events, 500)
    assert next(events) == half_way
    house.source.gate.set()
    assert [event for event in events if not isinstance(event, Waiting)] == ANSWER


def test_loading_alone_is_accepted_and_finished(house: House) -> None:
    house.pipeline.preload()
    events = [event for event in house.pipeline.load(None, LoadOptions()) if not isinstance(event, Waiting)]
    assert events == [Accepted(A, 0), Finished(Usage(), Timings())]
    assert house.workers.started[0].streams == []
    assert house.is_free()


def test_texts_are_embedded_by_the_model_and_come_as_numbers(house: House) -> None:
    texts = EmbeddingRequest(["ab", "abcd"], A)
    events = [event for event in house.pipeline.embed(texts) if not isinstance(event, Waiting)]
    assert events == [Accepted(A, 4), Vectors([[2.0, 0.5], [4.0, 0.5]]), Finished(Usage(4), Timings())]
    assert house.is_free()


def test_a_request_without_a_model_takes_the_default(house: House) -> None:
    assert house.pipeline.default_model == A
    list(house.ask(None))
    assert house.source.fetched == [A]


def test_a_host_without_a_default_says_how_to_name_a_model(house: House) -> None:
    with pytest.raises(ModelNotNamed, match="owner/name:Q4_K_M"):
        Pipeline(house.pool, None).generate(GenerationRequest("Hello"))


def test_cheap_checks_come_before_any_event(house: House) -> None:
    with pytest.raises(InvalidRequest):
        house.ask("../../etc/passwd")
    house.workers.failures = [ModelLoadFailed("bad magic")]
    with pytest.raises(ModelLoadFailed):
        list(house.ask())
    with pytest.raises(ModelLoadFailed, match="left alone"):
        house.ask()


def test_a_failed_download_is_raised_by_the_iteration(house: House) -> None:
    house.source.failures = [HubUnreachable("no network")]
    with pytest.raises(HubUnreachable):
        list(house.ask())


def test_a_shorter_context_bounds_the_request_and_a_longer_one_does_not(house: House) -> None:
    list(house.ask())
    list(house.ask(ctx_length=100))
    list(house.ask(ctx_length=4096))
    assert [stream.n_ctx for stream in house.workers.started[0].streams] == [None, 100, None]


def test_a_refusal_of_the_worker_frees_the_model(house: House) -> None:
    worker = house.silent_worker()
    consumer = Consumer(house.ask())
    while len(worker.streams) < 2:
        time.sleep(0.005)
    worker.streams[1].say(ContextLengthExceeded("too long", n_prompt_tokens=5000, n_ctx=4096))
    consumer.join()
    assert isinstance(consumer.error, ContextLengthExceeded)
    assert house.is_free()


def test_silence_of_a_worker_is_filled_with_waiting(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api_host.answering.KEEP_ALIVE_S", 0.02)
    worker = house.silent_worker()
    events = iter(house.ask())
    worker.stats.n_waiting = 1
    assert next(events) == Waiting("queued")
    worker.stats.n_waiting = 0
    assert next(events) == Waiting("prefill")
    worker.streams[1].say(RequestAccepted(2, 7))
    assert next(event for event in events if event != Waiting("prefill")) == Accepted(A, 7)
    events.close()  # type: ignore[attr-defined]
    assert worker.streams[1].cancelled
    assert house.is_free()


def test_a_request_can_be_cancelled_before_it_begins(house: House) -> None:
    generation = house.ask()
    generation.cancel()
    with pytest.raises(Cancelled):
        list(generation)
    assert house.source.fetched == []


def test_a_request_can_be_cancelled_while_its_model_comes(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api_host.answering.PROGRESS_EVERY_S", 60.0)
    house.source.gate.clear()
    generation = house.ask()
    consumer = Consumer(generation)
    assert consumer.first.wait(5)
    generation.cancel()
    generation.cancel()
    consumer.join()
    assert isinstance(consumer.error, Cancelled)
    assert house.is_free()  # nobody waits any more: the download itself can be ended


def test_a_request_can_be_cancelled_while_it_runs(house: House) -> None:
    worker = house.silent_worker()
    generation = house.ask()
    consumer = Consumer(generation)
    while len(worker.streams) < 2:
        time.sleep(0.005)
    worker.streams[1].say(RequestAccepted(2, 7))
    assert consumer.first.wait(5)
    generation.cancel()
    worker.streams[1].say(Piece(2, 0, "late", 1))
    consumer.join()
    assert consumer.events == [Accepted(A, 7)]
    assert isinstance(consumer.error, Cancelled)
    assert worker.streams[1].cancelled
    assert house.is_free()


def test_a_request_that_runs_when_the_host_stops_is_told_so(house: House) -> None:
    worker = house.silent_worker()
    consumer = Consumer(house.ask())
    while len(worker.streams) < 2:
        time.sleep(0.005)
    worker.streams[1].say(RequestAccepted(2, 7))
    assert consumer.first.wait(5)
    house.pool.stop()
    worker.streams[1].say(Cancelled("the model was unloaded"))
    consumer.join()
    assert isinstance(consumer.error, HostStopping)
    assert worker.streams[1].cancelled


def test_an_iteration_left_half_way_cancels_and_frees(house: House) -> None:
    worker = house.silent_worker()
    events = iter(house.ask())
    threading.Timer(0.02, lambda: worker.streams[1].say(RequestAccepted(2, 7))).start()
    assert next(events) == Accepted(A, 7)
    events.close()  # type: ignore[attr-defined]
    assert worker.streams[1].cancelled
    assert house.is_free()


def test_a_cancel_after_the_end_does_nothing(house: House) -> None:
    generation = house.ask()
    list(generation)
    generation.cancel()
    assert not house.workers.started[0].streams[0].cancelled
    assert house.is_free()


def test_a_worker_that_dies_ends_its_requests_and_the_next_one_is_answered(house: House) -> None:
    worker = house.silent_worker()
    consumers = [Consumer(house.ask()) for _ in range(3)]
    while len(worker.streams) < 4:
        time.sleep(0.005)
    worker.die()
    for consumer in consumers:
        consumer.join()
        assert isinstance(consumer.error, WorkerDied)
    assert [event for event in house.ask() if not isinstance(event, Waiting)] == ANSWER


def test_models_lists_what_was_asked_for_what_is_on_the_disk_the_default_and_the_demo(house: House) -> None:
    list(house.ask(B))
    models = {model["name"]: model for model in house.pipeline.models()}
    assert {name: model["status"] for name, model in models.items()} == {
        A: "unloaded",
        B: "loaded",
        "demo": "unloaded",
        "o/disk/d.gguf": "unloaded",
    }
    assert models["o/disk/d.gguf"]["size"] == 77
    assert models[B]["n_ctx"] == 4096
    assert len({frozenset(model) for model in models.values()}) == 1  # the same keys for all


def test_a_file_that_was_loaded_under_a_short_name_is_loaded_under_its_own_too(house: House) -> None:
    file, own, short = house.source.folder / "d.gguf", "o/disk/d.gguf", "o/disk"
    file.write_bytes(bytes(77))
    for name in (own, short):
        house.source._path(parse_reference(name)).symlink_to(file)

    def statuses() -> list[str]:
        models = {model["name"]: model["status"] for model in house.pipeline.models()}
        return [models[own], models[short]]

    list(house.ask(short))
    assert statuses() == ["loaded", "loaded"]
    house.pipeline.unload(own)
    assert house.workers.started[0].stopped.is_set()
    list(house.ask(own))
    assert statuses() == ["loaded", "loaded"]
    house.pipeline.unload(short)
    assert house.workers.started[1].stopped.is_set()
    assert statuses() == ["unloaded", "unloaded"]


def test_unloading_takes_any_spelling_of_a_model(house: House) -> None:
    list(house.ask(B))
    house.pipeline.unload("https://huggingface.co/o/b/resolve/main/b.gguf")
    assert house.workers.started[0].stopped.is_set()
    with pytest.raises(ModelFileNotFound):
        house.pipeline.unload("o/never/n.gguf")
