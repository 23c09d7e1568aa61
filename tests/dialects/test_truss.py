"""``POST /predict``: plain text as it comes, whole conversations, and what happens when it goes wrong."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from api_host.errors import Cancelled, GenerationFailed, QueueFull
from api_host.generation import Accepted, Chunk, Finished, GenerationRequest, Message, Timings, Usage, Waiting
from api_host.host import ApiHost
from api_host.web.dialects.truss.lengths import AtLeast
from tests.fakes.pipeline import FakePipeline, Step, answer
from tests.web.site import ENDLESS, Site, read_all, until

QUESTION = [{"role": "user", "content": "What is the capital of France?"}]
PROMPT = "<|user|>\nWhat is the capital of France?<|end|>\n<|assistant|>\n"
PARIS = "The capital of France is Paris."


@pytest.fixture
def predict(demo_host: ApiHost) -> Iterator[Any]:
    with requests.Session() as session:
        session.headers["Authorization"] = f"Api-Key {demo_host.access_token}"

        def post(**fields: Any) -> requests.Response:
            body = {"messages": QUESTION, **fields}
            return session.post(f"{demo_host.local_url}/predict", json=body, stream=True, timeout=30)

        yield post


def test_without_further_words_the_text_streams_as_plain_text(predict: Any) -> None:
    response = predict(do_sample=False)
    pieces = list(response.iter_content(None))
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert b"".join(pieces).decode() == PARIS
    assert len(pieces) > 1


def test_the_whole_conversation_comes_back_when_it_does_not_stream(predict: Any) -> None:
    response = predict(do_sample=False, stream=False)
    assert response.headers["Content-Type"] == "application/json"
    assert response.json() == {"output": PROMPT + PARIS}


def test_several_texts_come_in_a_list_of_their_own(predict: Any) -> None:
    found = predict(do_sample=False, stream=False, num_return_sequences=2).json()
    assert found == {"output": PROMPT + PARIS, "outputs": [PROMPT + PARIS] * 2}


def test_max_new_tokens_counts_the_tokens_of_the_conversation(predict: Any) -> None:
    refused = predict(max_new_tokens=5)
    assert refused.status_code == 400
    n_prompt = int(refused.json()["error"].split()[4])
    assert predict(do_sample=False, max_new_tokens=n_prompt + 2).text == "The capital"
    assert predict(do_sample=False, max_length=n_prompt + 2).text == "The capital"


def test_a_stop_string_stays_at_the_end_of_the_text(predict: Any) -> None:
    assert predict(do_sample=False, stop_strings=["nothing", "France"]).text == "The capital of France"
    assert predict(do_sample=False, stop_strings="France").text == "The capital of France"


def test_suppressed_tokens_never_come(predict: Any, demo_host: ApiHost) -> None:
    assert "capital" in predict(do_sample=False).text
    for fields in (
        {"suppress_tokens": list(range(256, 800))},
        {"bad_words_ids": [[n] for n in range(256, 800)]},
    ):
        text = predict(do_sample=False, max_new_tokens=40, **fields).text
        assert text and " capital" not in text


def test_min_new_tokens_and_min_length_hold_the_end_back(predict: Any) -> None:
    plain = predict(do_sample=False).text
    assert len(predict(do_sample=False, min_new_tokens=40, max_new_tokens=80).text) > len(plain)
    longer = predict(do_sample=False, min_length=60, max_new_tokens=60).text
    assert len(longer) > len(plain)


def test_a_seed_alone_decides_the_draws(predict: Any) -> None:
    def drawn(seed: int) -> str:
        return str(predict(seed=seed, temperature=4.0, top_k=0, top_p=1.0, max_new_tokens=40).text)

    assert drawn(1) == drawn(1)
    assert len({drawn(seed) for seed in range(4)}) > 1


def test_a_token_that_the_model_does_not_have_is_told_by_the_arguments_name(predict: Any) -> None:
    response = predict(suppress_tokens=[10**6])
    assert response.status_code == 400
    assert response.json()["error"].startswith("bad_words_ids or suppress_tokens: 1000000 is no token")


def test_the_wrong_token_is_401_in_the_dialects_shape(demo_host: ApiHost) -> None:
    response = requests.post(
        f"{demo_host.local_url}/predict", json={"messages": QUESTION, "token": "no"}, timeout=10
    )
    assert (response.status_code, response.json()["error"]) == (401, "wrong token")
    body = {"messages": QUESTION, "token": demo_host.access_token, "do_sample": False}
    assert requests.post(f"{demo_host.local_url}/predict", json=body, timeout=10).text == PARIS


def test_the_arguments_go_to_the_engine_by_its_names(site: Site, pipeline: FakePipeline) -> None:
    fields = {
        "temperature": 0.5,
        "top_p": 0.5,
        "top_k": 7,
        "repetition_penalty": 1.2,
        "no_repeat_ngram_size": 3,
    }
    more = {"min_p": 0.1, "typical_p": 0.9, "seed": 5, "min_new_tokens": 4, "max_length": 50}
    site.post({"messages": QUESTION, "model": "demo", **fields, **more}, "/predict")
    asked = pipeline.requests[0]
    assert asked.inputs == [Message("user", "What is the capital of France?")]
    assert (asked.model, asked.want_prompt) == ("demo", False)
    sampling = asked.sampling
    assert (sampling.temperature, sampling.top_p, sampling.top_k) == (0.5, 0.5, 7)
    assert (sampling.repeat_penalty, sampling.repeat_last_n, sampling.no_repeat_ngram_size) == (1.2, -1, 3)
    assert (sampling.min_p, sampling.typical_p, sampling.seed) == (0.1, 0.9, 5)
    assert (sampling.min_tokens, sampling.max_length, sampling.max_tokens) == (4, 50, 50)


def test_the_defaults_are_those_of_the_original(site: Site, pipeline: FakePipeline) -> None:
    response = site.post({"messages": QUESTION}, "/predict")
    assert response.text == "Hello there"
    sampling = pipeline.requests[0].sampling
    assert (sampling.max_length, sampling.temperature, sampling.top_p, sampling.top_k) == (
        4096,
        1.0,
        0.95,
        40,
    )
    assert (sampling.repeat_penalty, sampling.no_repeat_ngram_size, sampling.n) == (1.0, 0, 1)


def test_min_length_counts_the_prompt_first(site: Site, pipeline: FakePipeline) -> None:
    response = site.post({"messages": QUESTION, "min_length": 30, "min_new_tokens": 2}, "/predict")
    assert response.text == "Hello there"
    assert len(pipeline.counted) == 1
    assert pipeline.requests[0].sampling.min_tokens == 25


def test_a_request_that_waits_sends_spaces_before_the_text_and_none_in_it(
    site: Site, pipeline: FakePipeline
) -> None:
    pipeline.script = lambda request: [
        *[step for _ in range(8) for step in (Waiting("loading"), 0.06)],
        Accepted("demo", 5),
        Chunk("One"),
        *[step for _ in range(4) for step in (Waiting("prefill"), 0.06)],
        Chunk(" two", finish_reason="stop"),
        Finished(Usage(), Timings()),
    ]
    text = site.post({"messages": QUESTION}, "/predict").text
    assert text.lstrip(" ") == "One two"
    assert len(text) - len("One two") >= 3


def test_a_plain_answer_that_waits_is_json_after_spaces(site: Site, pipeline: FakePipeline) -> None:
    pipeline.script = lambda request: [
        *[step for _ in range(8) for step in (Waiting("queued"), 0.06)],
        Accepted("demo", 5, "PROMPT "),
        Chunk("text", finish_reason="stop"),
        Finished(Usage(), Timings()),
    ]
    response = site.post({"messages": QUESTION, "stream": False}, "/predict")
    assert response.text.startswith("  ")
    assert response.json() == {"output": "PROMPT text"}


def test_a_late_error_is_a_last_record_behind_a_character_that_no_text_has(
    site: Site, pipeline: FakePipeline
) -> None:
    pipeline.script = lambda request: [Accepted("demo", 5), Chunk("Hel"), GenerationFailed("it broke")]
    text, separator, record = site.post({"messages": QUESTION}, "/predict").text.partition("\x1e")
    assert (text, separator) == ("Hel", "\x1e")
    assert json.loads(record) == {"error": "it broke", "code": "generation_failed", "status": 500}
    assert record.endswith("}\n")


def test_a_late_error_of_a_plain_answer_is_in_its_body(site: Site, pipeline: FakePipeline) -> None:
    waits = [step for _ in range(8) for step in (Waiting("queued"), 0.06)]
    pipeline.script = lambda request: [*waits, GenerationFailed("it broke")]
    response = site.post({"messages": QUESTION, "stream": False}, "/predict")
    assert response.json() == {"error": "it broke", "code": "generation_failed", "status": 500}


def test_overload_says_when_to_come_again(site: Site, pipeline: FakePipeline) -> None:
    pipeline.refusal = QueueFull("100 requests are waiting", retry_after=5, limit=100)
    response = site.post({"messages": QUESTION, "min_length": 3}, "/predict")
    assert (response.status_code, response.headers["Retry-After"]) == (429, "5")
    assert response.json() == {"error": "100 requests are waiting", "code": "queue_full", "limit": 100}


@pytest.mark.parametrize("fields", [{}, {"stream": False}, {"min_length": 40}])
def test_a_client_that_goes_frees_its_place(
    site: Site, pipeline: FakePipeline, fields: dict[str, Any]
) -> None:
    pipeline.script = lambda request: ENDLESS
    sock = site.raw({"messages": QUESTION, **fields}, "/predict")
    assert until(lambda: bool(pipeline.requests))
    sock.close()
    assert until(lambda: pipeline.generations[-1].ended.is_set())


@pytest.mark.parametrize("stage", [0, 1])
def test_a_cancel_reaches_the_stage_that_runs(
    pipeline: FakePipeline, monkeypatch: pytest.MonkeyPatch, stage: int
) -> None:
    scripts: list[list[Step]] = [[Accepted("demo", 5)], []]
    scripts[stage] = [Accepted("demo", 5), 60.0]
    monkeypatch.setattr(pipeline, "count", lambda request: pipeline._play(request))
    pipeline.script = lambda request: scripts[len(pipeline.generations)]
    generation = AtLeast(pipeline, GenerationRequest("x"), 40)

    def cancel() -> None:
        until(lambda: len(pipeline.generations) == stage + 1)
        generation.cancel()

    cancelling = threading.Thread(target=cancel)
    cancelling.start()
    with pytest.raises(Cancelled):
        list(generation)
    cancelling.join()
    assert len(pipeline.generations) == stage + 1


def test_a_client_that_goes_while_its_prompt_is_counted_is_not_answered(
    site: Site, pipeline: FakePipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = [step for _ in range(1000) for step in (Waiting("loading"), 0.01)]
    monkeypatch.setattr(pipeline, "count", lambda request: pipeline._play(request))
    pipeline.script = lambda request: steps
    sock = site.raw({"messages": QUESTION, "min_length": 40}, "/predict")
    assert until(lambda: bool(pipeline.generations))
    time.sleep(0.05)  # until the server watches the socket
    sock.close()
    assert until(lambda: pipeline.generations[0].ended.is_set())
    assert pipeline.requests == []


def test_a_half_sent_request_gets_an_answer_in_the_dialects_shape(site: Site) -> None:
    sock = site.raw({"messages": []}, "/predict", head="Connection: close")
    head, _, body = read_all(sock).partition(b"\r\n\r\n")
    assert b"400" in head.splitlines()[0]
    assert json.loads(body)["error"].startswith("messages: the list is empty")


def test_a_text_of_several_pieces_arrives_piece_by_piece(site: Site, pipeline: FakePipeline) -> None:
    pipeline.script = lambda request: answer("é", "—", "ok", pause=0.05)
    response = site.post({"messages": QUESTION}, "/predict", stream=True)
    assert [piece.decode() for piece in response.iter_content(None)] == ["é", "—", "ok"]
