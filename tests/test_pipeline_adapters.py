"""What the pipeline adds to a request on its way: its adapters' files, and the host's settings; and fetching alone."""

from __future__ import annotations

import pytest

from api_host.errors import HubUnreachable, InvalidRequest
from api_host.generation import Accepted, Adapter, Finished, GenerationRequest, SamplingParams, Waiting
from api_host.pipeline import Defaults, Pipeline
from tests.fakes.house import ANSWER, A, B, House


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


def test_an_adapter_that_is_named_twice_counts_as_often(house: House) -> None:
    named = [("o/lora/x.gguf", 0.5), ("o/lora/y.gguf", 1.0), ("o/lora/x.gguf", 0.25)]
    request = GenerationRequest("Hello", A, lora=[Adapter(*adapter) for adapter in named])
    list(house.pipeline.generate(request))
    folder = house.source.folder
    adapters = [(str(folder / "o_lora_x.gguf"), 0.75), (str(folder / "o_lora_y.gguf"), 1.0)]
    assert house.workers.started[-1].requests[-1][1] == adapters


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
