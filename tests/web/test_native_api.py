"""POST /api: fields, answers, streams and errors, over real HTTP."""

from __future__ import annotations

import json
import time

import pytest
import requests

from api_host import errors
from api_host.generation import (
    Accepted,
    Chunk,
    Finished,
    LoadOptions,
    Message,
    SamplingParams,
    Timings,
    TokenLogprob,
    Usage,
    Waiting,
)
from tests.fakes.pipeline import FakePipeline, answer
from tests.web.site import TOKEN, Site, events


def test_the_original_clients_script_works_on_the_bare_url(site: Site, pipeline: FakePipeline) -> None:
    response = requests.post(
        site.url,
        json={
            "token": TOKEN,
            "task": "text_generation",
            "repo_id": "TheBloke/dolphin-2.7-mixtral-8x7b-GGUF",
            "file_name": "dolphin.Q3_K_M.gguf",
            "inputs": [{"role": "user", "content": "Tell me a story."}],
            "parameters": {"max_tokens": 64, "top_k": 1, "temperature": 2, "top_p": 0.5},
            "options": {"use_gpu": True, "ctx_lenght": 2048, "chat_format": "chatml"},
        },
        timeout=10,
    )
    assert response.status_code == 200
    assert response.json()["answer"]["content"] == "Hello there"
    (asked,) = pipeline.requests
    assert asked.model == "TheBloke/dolphin-2.7-mixtral-8x7b-GGUF/dolphin.Q3_K_M.gguf"
    assert asked.inputs == [Message("user", "Tell me a story.")]
    assert asked.sampling == SamplingParams(max_tokens=64, top_k=1, temperature=2.0, top_p=0.5)
    assert asked.options == LoadOptions(use_gpu=True, ctx_length=2048)
    assert asked.chat_format == "chatml"


def test_what_is_left_out_takes_the_defaults(site: Site, pipeline: FakePipeline) -> None:
    site.post({"inputs": "A cat sat on", "parameters": None, "options": None})
    (asked,) = pipeline.requests
    assert (asked.inputs, asked.model, asked.chat_format) == ("A cat sat on", None, None)
    assert asked.sampling == SamplingParams()
    assert asked.options == LoadOptions()


def test_a_plain_answer_has_all_of_the_contract(site: Site) -> None:
    response = site.post({"inputs": "Hi"})
    assert response.json() == {
        "answer": {"role": "assistant", "content": "Hello there"},
        "model": "demo",
        "usage": {"prompt_tokens": 5, "completion_tokens": 2, "cached_tokens": 2, "total_tokens": 7},
        "timings": {"queued": 0.25, "prefill": 0.5, "decode": 2.0, "tokens_per_second": 1.0},
        "finish_reason": "stop",
    }
    assert int(response.headers["Content-Length"]) == len(response.content)


def test_several_choices_are_answered_each_in_its_place(site: Site, pipeline: FakePipeline) -> None:
    pipeline.script = lambda request: [
        Accepted("demo", 1),
        Chunk("b", index=1),
        Chunk("a", index=0),
        Chunk("B", index=1, finish_reason="length"),
        Chunk("", index=0, finish_reason="stop"),
        Finished(Usage(), Timings()),
    ]
    body = site.post({"inputs": "Hi", "parameters": {"n": 2}}).json()
    assert body["answers"] == [
        {"content": "a", "finish_reason": "stop"},
        {"content": "bB", "finish_reason": "length"},
    ]
    assert body["answer"]["content"] == "a"
    assert body["timings"]["tokens_per_second"] == 0


def test_logit_bias_keys_are_numbers_in_json_strings(site: Site, pipeline: FakePipeline) -> None:
    site.post(
        {"inputs": "Hi", "parameters": {"logit_bias": {"15": -100, "7": 0.5}, "seed": 7, "stop": ["#"]}}
    )
    assert pipeline.requests[0].sampling.logit_bias == {15: -100.0, 7: 0.5}


def test_task_none_loads_and_generates_nothing(site: Site, pipeline: FakePipeline) -> None:
    pipeline.script = lambda request: [Waiting("loading"), Accepted("m", 0), Finished(Usage(), Timings())]
    body = {"task": "none", "model": "m", "options": {"ctx_length": 8192}}
    assert site.post(body).json() == {"answer": None, "model": "m", "loaded": True}
    assert pipeline.loads == [("m", LoadOptions(ctx_length=8192))]
    stream = events(site.post({**body, "stream": True}).content)
    assert stream[-1] == ("done", {"model": "m", "loaded": True})


def test_embeddings_come_as_one_vector_or_as_a_list_of_them(site: Site, pipeline: FakePipeline) -> None:
    single = site.post({"task": "embedding", "inputs": "cat"}).json()
    assert (single["embedding"], single["model"], single["usage"]["prompt_tokens"]) == ([3.0], "demo", 7)
    several = site.post({"task": "embedding", "inputs": ["cat", "zephyr"]}).json()
    assert several["embeddings"] == [[3.0], [6.0]]


def test_the_pipelines_refusal_keeps_its_status(site: Site, pipeline: FakePipeline) -> None:
    pipeline.refusal = errors.ModelNotNamed("model: name one")
    response = site.post({"inputs": "Hi"})
    assert (response.status_code, response.json()) == (
        400,
        {"error": ["model: name one"], "code": "model_not_named"},
    )


@pytest.mark.parametrize("stream", [False, True])
def test_an_early_error_keeps_its_status(site: Site, pipeline: FakePipeline, stream: bool) -> None:
    failure = errors.QueueFull("100 requests wait already", retry_after=2.5, limit=100)
    pipeline.script = lambda request: [Waiting("loading"), failure]
    response = site.post({"inputs": "Hi", "stream": stream})
    assert response.status_code == 429
    assert response.headers["Retry-After"] == "3"
    assert response.json() == {"error": "100 requests wait already", "code": "queue_full", "limit": 100}


def test_a_late_error_of_a_plain_answer_is_in_its_body(site: Site, pipeline: FakePipeline) -> None:
    steps = [
        Waiting("loading"),
        0.3,
        Waiting("loading"),
        0.1,
        Waiting("loading"),
        errors.WorkerDied("it died"),
    ]
    pipeline.script = lambda request: steps
    response = site.post({"inputs": "Hi"})
    assert response.status_code == 200
    assert response.content.startswith(b" ")
    assert response.json() == {"error": "it died", "code": "worker_died", "status": 503}


def test_a_late_error_of_a_stream_is_its_last_event(site: Site, pipeline: FakePipeline) -> None:
    pipeline.script = lambda request: [Accepted("demo", 1), Chunk("a"), errors.GenerationFailed("no")]
    response = site.post({"inputs": "Hi", "stream": True})
    assert response.status_code == 200
    found = events(response.content)
    assert found[-1] == ("error", {"error": "no", "code": "generation_failed", "status": 500})
    assert [name for name, _ in found] == ["message", "error"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_crash_shows_an_id_and_nothing_else(
    site: Site, pipeline: FakePipeline, stream: bool, caplog: pytest.LogCaptureFixture
) -> None:
    pipeline.script = lambda request: [Accepted("demo", 1), Chunk("a"), ZeroDivisionError("secret")]
    response = site.post({"inputs": "Hi", "stream": stream})
    body = events(response.content)[-1][1] if stream else response.json()
    assert response.status_code == (200 if stream else 500)
    assert (body["error"], body["code"]) == ("internal error", "internal_error")
    assert "secret" not in response.text and "Traceback" not in response.text
    logged = [record for record in caplog.records if body["id"] in record.getMessage()]
    assert logged and logged[0].exc_info and logged[0].exc_info[0] is ZeroDivisionError


def test_a_stream_is_framed_as_server_sent_events(site: Site, pipeline: FakePipeline) -> None:
    pipeline.script = lambda request: answer('Line\n"two"', " é🦙\r\u2028data: x")
    response = site.post({"inputs": "Hi", "stream": True})
    assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert response.headers["Cache-Control"] == "no-cache, no-transform"
    assert response.headers["X-Accel-Buffering"] == "no"
    assert "Content-Length" not in response.headers
    found = events(response.content)
    assert [name for name, _ in found] == ["message"] * 3 + ["done"]
    assert found[0][1] == {"text": 'Line\n"two"', "index": 0, "finish_reason": None}
    assert "".join(data["text"] for name, data in found[:3]) == 'Line\n"two" é🦙\r\u2028data: x'
    assert found[3][1] == {
        "model": "demo",
        "usage": {"prompt_tokens": 5, "completion_tokens": 2, "cached_tokens": 2, "total_tokens": 7},
        "timings": {"queued": 0.25, "prefill": 0.5, "decode": 2.0, "tokens_per_second": 1.0},
        "finish_reason": "stop",
    }


def test_waiting_shows_as_status_events(site: Site, pipeline: FakePipeline) -> None:
    progress = {"done": 5, "total": 10}
    pipeline.script = lambda request: [
        Waiting("downloading", progress),
        0.15,
        Waiting("loading"),
        *answer("a"),
    ]
    found = events(site.post({"inputs": "Hi", "stream": True}).content)
    assert found[:2] == [
        ("status", {"status": "downloading", "progress": progress}),
        ("status", {"status": "loading", "progress": {}}),
    ]


def test_chunks_arrive_as_they_come(site: Site, pipeline: FakePipeline) -> None:
    pipeline.script = lambda request: [Accepted("demo", 1), Chunk("a"), 5.0, *answer("b")]
    start = time.monotonic()
    with site.post({"inputs": "Hi", "stream": True}, stream=True) as response:
        lines = response.iter_lines()
        first = next(line for line in lines if line.startswith(b"data"))
        assert json.loads(first[6:])["text"] == "a"
    assert time.monotonic() - start < 5


def test_a_slow_plain_answer_is_padded_with_spaces(site: Site, pipeline: FakePipeline) -> None:
    waits = [step for _ in range(6) for step in (0.1, Waiting("queued"))]
    pipeline.script = lambda request: [Accepted("demo", 1), *waits, *answer("late")]
    response = site.post({"inputs": "Hi"})
    assert response.headers["Content-Type"] == "application/json"
    assert len(response.content) - len(response.content.lstrip(b" ")) >= 3
    assert response.json()["answer"]["content"] == "late"


def test_a_generation_that_ends_without_an_answer_is_an_error(site: Site, pipeline: FakePipeline) -> None:
    pipeline.script = lambda request: [Accepted("demo", 1)]
    assert events(site.post({"inputs": "Hi", "stream": True}).content)[0][1]["status"] == 500
    assert site.post({"inputs": "Hi"}).json()["status"] == 500


def test_logprobs_stand_beside_the_text(site: Site, pipeline: FakePipeline) -> None:
    half = TokenLogprob.of(b"\xc3", -0.5)
    half.top = [TokenLogprob.of(b"\xc3", -0.5), TokenLogprob("x", float("-inf"))]
    ending = Finished(Usage(5, 1), Timings())
    pipeline.script = lambda request: [
        Accepted("demo", 5),
        Chunk("x", 0, 1, logprobs=[half]),
        Chunk("", 0, 0, "stop"),
        ending,
    ]
    top = [{"token": "\ufffd", "logprob": -0.5, "top": []}, {"token": "x", "logprob": None, "top": []}]
    told = [{"token": "\ufffd", "logprob": -0.5, "top": top}]
    assert site.post({"inputs": "Hi", "parameters": {"logprobs": 2}}).json()["logprobs"] == told
    streamed = events(site.post({"inputs": "Hi", "parameters": {"logprobs": 2}, "stream": True}).content)
    assert streamed[0][1]["logprobs"] == told
