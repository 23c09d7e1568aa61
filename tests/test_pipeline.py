"""The way of a request through the pipeline, with a real pool on fake workers."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from api_host.config import HostConfig
from api_host.engine.messages import Piece, RequestAccepted
from api_host.errors import (
    ApiHostError,
    Cancelled,
    ContextLengthExceeded,
    HubUnreachable,
    InvalidRequest,
    ModelFileNotFound,
    ModelLoadFailed,
    ModelNotNamed,
    WorkerDied,
)
from api_host.generation import (
    Accepted,
    Adapter,
    Chunk,
    EmbeddingRequest,
    Finished,
    GenerationRequest,
    LoadOptions,
    SamplingParams,
    Timings,
    Usage,
    Vectors,
    Waiting,
)
from api_host.models.cache import CachedModel
from api_host.models.pool.pool import ModelPool
from api_host.pipeline import Defaults, Generation, Pipeline
from tests.fakes.worker import FakeSource, FakeWorker, FakeWorkers

A, B = "o/a/a.gguf", "o/b/b.gguf"
ANSWER = [Accepted(A, 3), Chunk("Hi", 0, 1, "stop"), Finished(Usage(3, 1), Timings())]


class House:
    """A pipeline with what it stands on."""

    def __init__(self, folder: Path) -> None:
        self.workers = FakeWorkers()
        self.source = FakeSource(folder)
        config = HostConfig.from_arguments(memory_budget=100_000, load_cooldown=0.05)
        self.pool = ModelPool(config, self.source, self.workers)
        cached = CachedModel("o/disk/d.gguf", folder / "d.gguf", 77, 0.0)
        self.pipeline = Pipeline(self.pool, A, lambda: [cached])

    def ask(self, model: str | None = A, **options: Any) -> Generation:
        return self.pipeline.generate(GenerationRequest("Hello", model, options=LoadOptions(**options)))

    def silent_worker(self) -> FakeWorker:
        """The worker of model A, which from now on says only what a test says for it."""
        list(self.ask())
        worker = self.workers.started[-1]
        worker.silent = True
        return worker

    def is_free(self, name: str = A) -> bool:
        """Whether nobody holds the model any more."""
        try:
            self.pool.unload(name)
        except ApiHostError:
            return False
        return True


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    yield house
    house.workers.gate.set()
    house.source.gate.set()
    house.pool.stop()


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

    def join(self, timeout: float = 5) -> None:
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
    assert consumer.first.wait(0.5)
    house.source.gate.set()
    consumer.join()
    waits = [event for event in consumer.events if isinstance(event, Waiting)]
    assert waits[0].status in ("loading", "downloading")
    assert [event for event in consumer.events if not isinstance(event, Waiting)] == ANSWER


def test_waiting_goes_on_while_a_download_does(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api_host.pipeline.PROGRESS_EVERY_S", 0.02)
    house.source.gate.clear()
    events = iter(house.ask())
    statuses = [next(events) for _ in range(4)]
    assert statuses[-1] == Waiting("downloading", {"file": A, "bytes_done": 500, "bytes_total": 1000})
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
    monkeypatch.setattr("api_host.pipeline.KEEP_ALIVE_S", 0.02)
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


def test_a_request_can_be_cancelled_while_its_model_comes(house: House) -> None:
    house.source.gate.clear()
    generation = house.ask()
    consumer = Consumer(generation)
    assert consumer.first.wait(5)
    began = time.monotonic()
    generation.cancel()
    generation.cancel()
    consumer.join()
    assert time.monotonic() - began < 0.5
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


def test_unloading_takes_any_spelling_of_a_model(house: House) -> None:
    list(house.ask(B))
    house.pipeline.unload("https://huggingface.co/o/b/resolve/main/b.gguf")
    assert house.workers.started[0].stopped.is_set()
    with pytest.raises(ModelFileNotFound):
        house.pipeline.unload("o/never/n.gguf")


def test_adapters_are_downloaded_first_and_given_to_the_worker_as_files(house: House) -> None:
    request = GenerationRequest("Hello", A, lora=[Adapter("o/lora/x.gguf", 0.5)])
    events = list(house.pipeline.generate(request))
    assert {event.progress.get("file") for event in events if isinstance(event, Waiting)} >= {"o/lora/x.gguf"}
    assert house.source.fetched == ["o/lora/x.gguf", A]
    worker = house.workers.started[-1]
    assert worker.requests[-1][1] == [(str(house.source.folder / "o_lora_x.gguf"), 0.5)]
    house.pipeline.generate(request)
    list(house.pipeline.generate(request))
    assert house.source.fetched == ["o/lora/x.gguf", A]


def test_an_adapter_that_cannot_be_had_fails_the_request_alone(house: House) -> None:
    house.source.failures.append(HubUnreachable("no network"))
    with pytest.raises(HubUnreachable):
        list(house.pipeline.generate(GenerationRequest("Hello", A, lora=[Adapter("o/lora/x.gguf")])))
    with pytest.raises(InvalidRequest, match="name"):
        house.pipeline.generate(GenerationRequest("Hello", A, lora=[Adapter("../x.gguf")]))
    assert list(house.ask())[-len(ANSWER) :] == ANSWER


def test_what_a_request_leaves_open_the_hosts_settings_fill_in(house: House) -> None:
    pipeline = Pipeline(house.pool, A, defaults=Defaults("chatml", 7, ["o/lora/x.gguf"]))
    list(pipeline.generate(GenerationRequest("Hello")))
    list(pipeline.generate(GenerationRequest("Hello", B)))
    own = SamplingParams(seed=1)
    list(pipeline.generate(GenerationRequest("Hello", A, sampling=own, chat_format="zephyr", lora=[])))
    taken = [
        (request.chat_format, request.sampling.seed, request.lora)
        for worker in house.workers.started
        for request, _ in worker.requests
    ]
    assert sorted(taken, key=str) == sorted(
        [("chatml", 7, [Adapter("o/lora/x.gguf")]), ("zephyr", 1, []), ("chatml", 7, None)], key=str
    )


def test_pulling_puts_a_model_on_the_disk_and_loads_nothing(house: House) -> None:
    events = list(house.pipeline.pull(B))
    assert [type(event) for event in events[-2:]] == [Accepted, Finished]
    assert house.source.fetched == [B]
    assert house.workers.started == []
