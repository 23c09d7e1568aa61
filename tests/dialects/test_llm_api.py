"""The LLM API: bare texts, events whose data is text, vectors, and errors as ``detail``."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from api_host.errors import ContextLengthExceeded, GenerationFailed
from api_host.generation import Accepted, Chunk, Finished, Timings, Usage, Waiting
from api_host.host import ApiHost
from tests.fakes.pipeline import FakePipeline, Step, answer
from tests.web.site import ENDLESS, Site, until

PROMPT = "<|user|>\nWhat is the capital of France?<|end|>\n<|assistant|>\n"
PARIS = "The capital of France is Paris."
GREEDY = {"temp": 0, "repeat_penalty": 1.0}


def data_of(stream: bytes) -> list[tuple[str, str]]:
    """The events of a stream as a browser dispatches them: (name, data)."""
    found = []
    for block in stream.decode().split("\n\n")[:-1]:
        fields = [line.partition(":") for line in block.split("\n")]
        data = [value.removeprefix(" ") for name, _, value in fields if name == "data"]
        names = [value.strip() for name, _, value in fields if name == "event"]
        if data:
            found.append((names[0] if names else "message", "\n".join(data)))
    return found


@pytest.fixture
def ask(demo_host: ApiHost) -> Iterator[Any]:
    with requests.Session() as session:
        session.headers["X-Api-Key"] = demo_host.access_token or ""

        def post(path: str, body: dict[str, Any]) -> requests.Response:
            return session.post(demo_host.local_url + path, json=body, timeout=30)

        yield post


def test_generate_answers_with_the_text_as_a_json_string(ask: Any) -> None:
    response = ask("/generate", {"prompt": PROMPT, "params": GREEDY})
    assert (response.status_code, response.headers["Content-Type"]) == (200, "application/json")
    assert response.json() == PARIS


def test_agenerate_sends_the_same_text_in_events(ask: Any) -> None:
    response = ask("/agenerate", {"prompt": PROMPT, "params": GREEDY})
    assert response.headers["Content-Type"].startswith("text/event-stream")
    events = data_of(response.content)
    assert "".join(data for _, data in events) == PARIS
    assert len(events) > 1
    assert {name for name, _ in events} == {"message"}


def test_embeddings_are_a_list_of_numbers(ask: Any) -> None:
    vector = ask("/embeddings", {"text": "What is the capital of France?"}).json()
    assert isinstance(vector, list)
    assert math.isclose(sum(value * value for value in vector), 1, rel_tol=1e-3)
    assert vector != ask("/embeddings", {"text": "Something else"}).json()


def test_check_says_ok(demo_host: ApiHost) -> None:
    headers = {"Authorization": f"Bearer {demo_host.access_token}"}
    response = requests.get(f"{demo_host.local_url}/check", headers=headers, timeout=10)
    assert response.json() == "Ok"


def test_both_spellings_of_a_parameter_do_the_same(ask: Any) -> None:
    older = ask("/generate", {"prompt": PROMPT, "params": {"n_predict": 3, "temp": 0}}).json()
    newer = ask("/generate", {"prompt": PROMPT, "params": {"max_tokens": 3, "temperature": 0}}).json()
    assert older == newer == "The capital of"


def test_echo_puts_the_prompt_before_the_text_and_suffix_goes_after_it(ask: Any) -> None:
    body = {"prompt": PROMPT, "params": {**GREEDY, "echo": True, "suffix": " (end)"}}
    expected = f"{PROMPT}{PARIS} (end)"
    assert ask("/generate", body).json() == expected
    assert "".join(data for _, data in data_of(ask("/agenerate", body).content)) == expected


def test_a_stop_string_ends_the_text_before_it(ask: Any) -> None:
    assert ask("/generate", {"prompt": PROMPT, "params": {**GREEDY, "stop": [" is"]}}).json() == (
        "The capital of France"
    )


@pytest.mark.parametrize("path", ["/generate", "/agenerate", "/embeddings", "/check"])
def test_the_wrong_token_is_401_in_the_dialects_shape(demo_host: ApiHost, path: str) -> None:
    method = "GET" if path == "/check" else "POST"
    response = requests.request(method, demo_host.local_url + path, data=b'{"token": "no"}', timeout=10)
    assert (response.status_code, response.json()["detail"]) == (401, "wrong token")


def test_the_defaults_are_those_of_the_original(site: Site, pipeline: FakePipeline) -> None:
    nulls = {"suffix": None, "logprobs": None, "top_k": None, "stop": None, "echo": False}
    for body in ({"prompt": "x"}, {"prompt": "x", "params": None}, {"prompt": "x", "params": nulls}):
        assert site.post(body, "/generate").json() == "Hello there"
        sampling = pipeline.requests[-1].sampling
        assert (sampling.max_tokens, sampling.temperature, sampling.top_k) == (128, 0.8, 40)
        assert (sampling.top_p, sampling.repeat_penalty, sampling.seed) == (0.95, 1.1, None)


def test_the_parameters_go_to_the_engine_by_its_names(site: Site, pipeline: FakePipeline) -> None:
    params = {"n_predict": 5, "temp": 0.5, "top_k": 3, "top_p": 0.4, "stop": ["#"], "repeat_penalty": 1.5}
    more = {"frequency_penalty": 0.1, "presence_penalty": 0.2, "seed": 7, "repeat_last_n": 9, "logprobs": 3}
    site.post(
        {"prompt": "x", "repo_id": "o/n", "file_name": "f.gguf", "params": {**params, **more}}, "/generate"
    )
    asked = pipeline.requests[0]
    assert (asked.inputs, asked.model) == ("x", "o/n/f.gguf")
    sampling = asked.sampling
    assert (sampling.max_tokens, sampling.temperature, sampling.top_k, sampling.top_p) == (5, 0.5, 3, 0.4)
    assert (sampling.stop, sampling.repeat_penalty, sampling.repeat_last_n) == (["#"], 1.5, 9)
    assert (sampling.frequency_penalty, sampling.presence_penalty, sampling.seed) == (0.1, 0.2, 7)
    assert sampling.logprobs is None


def test_a_seed_of_minus_one_is_a_new_one_each_time(site: Site, pipeline: FakePipeline) -> None:
    for _ in range(2):
        site.post({"prompt": "x", "params": {"seed": -1}}, "/generate")
    seeds = [asked.sampling.seed for asked in pipeline.requests]
    assert None not in seeds
    assert len(set(seeds)) == 2


WRONG = [
    ("/generate", {}, "prompt: is missing; allowed: text"),
    ("/generate", {"prompt": ""}, 'prompt: "" is too short'),
    ("/generate", {"prompt": 3}, "prompt: 3 is not text"),
    ("/generate", {"prompt": "x", "prams": {}}, "prams: there is no such field; did you mean 'params'?"),
    ("/generate", {"prompt": "x", "inputs": "y"}, "inputs: there is no such field"),
    ("/generate", {"prompt": "x", "params": []}, "params: [] is not an object"),
    (
        "/generate",
        {"prompt": "x", "params": {"tmp": 1}},
        "params.tmp: there is no such field; did you mean 'temp'?",
    ),
    (
        "/generate",
        {"prompt": "x", "params": {"top_p": 2}},
        "params.top_p: 2 is too large; allowed: a number from 0",
    ),
    ("/generate", {"prompt": "x", "params": {"stop": "#"}}, 'params.stop: "#" is not a list'),
    ("/generate", {"prompt": "x", "params": {"seed": -2}}, "params.seed: -2 is too small"),
    (
        "/agenerate",
        {"prompt": "x", "params": {"n_predict": 3, "max_tokens": 4}},
        "params.n_predict: 3 differs from params.max_tokens, which is the same parameter",
    ),
    ("/agenerate", {"prompt": "x", "params": {"temp": 0, "temperature": 1}}, "params.temp: 0 differs from"),
    ("/agenerate", {"prompt": "x", "model": "a", "repo_id": "o/n"}, "file_name: is missing"),
    ("/embeddings", {"text": ""}, 'text: "" is too short'),
    ("/embeddings", {"text": ["a"]}, 'text: ["a"] is not text'),
]


@pytest.mark.parametrize(("path", "body", "sentence"), WRONG)
def test_a_wrong_field_is_told_in_a_sentence(site: Site, path: str, body: Any, sentence: str) -> None:
    response = site.post(body, path)
    assert response.status_code == 400
    assert set(response.json()) == {"detail", "code"}
    assert response.json()["detail"].startswith(sentence)


def test_equal_values_in_both_spellings_are_no_mistake(site: Site, pipeline: FakePipeline) -> None:
    params = {"n_predict": 3, "max_tokens": 3, "temp": 0.5, "temperature": None}
    assert site.post({"prompt": "x", "params": params}, "/generate").json() == "Hello there"
    assert pipeline.requests[0].sampling.max_tokens == 3


@pytest.mark.parametrize(
    ("method", "path", "data", "status"),
    [
        ("POST", "/generate", b"{", 400),
        ("POST", "/agenerate", b"", 400),
        ("POST", "/embeddings", b"7", 400),
        ("GET", "/generate", None, 405),
        ("POST", "/check", b"{}", 405),
        ("POST", "/embeddings/more", b"{}", 404),
    ],
)
def test_refusals_of_every_kind_have_the_dialects_shape(
    site: Site, method: str, path: str, data: bytes | None, status: int
) -> None:
    headers = {"Content-Type": "application/json"}
    response = site.session.request(method, site.url + path, data=data, headers=headers, timeout=10)
    assert response.status_code == status
    assert isinstance(response.json()["detail"], str)


def test_the_engines_errors_name_the_dialects_fields(site: Site, pipeline: FakePipeline) -> None:
    refusal = ContextLengthExceeded("inputs: the prompt has 9 tokens", n_prompt_tokens=9, n_ctx=8)
    pipeline.refusal = refusal
    expected = {"detail": "prompt: the prompt has 9 tokens", "code": "context_length_exceeded"}
    for path in ("/generate", "/agenerate"):
        assert site.post({"prompt": "x"}, path).json() == {**expected, "n_prompt_tokens": 9, "n_ctx": 8}


def events_of(site: Site, pipeline: FakePipeline, *steps: Step) -> bytes:
    pipeline.script = lambda request: list(steps)
    return site.post({"prompt": "x"}, "/agenerate").content


def test_lines_of_a_piece_are_data_lines_of_their_own(site: Site, pipeline: FakePipeline) -> None:
    stream = events_of(site, pipeline, *answer("one\ntwo\n", "\n", " three"))
    assert data_of(stream) == [("message", "one\ntwo\n"), ("message", "\n"), ("message", " three")]
    assert b"data: one\ndata: two\ndata: \n\n" in stream


def test_a_line_end_of_two_characters_is_one_also_when_it_comes_in_two_pieces(
    site: Site, pipeline: FakePipeline
) -> None:
    stream = events_of(site, pipeline, *answer("a\r", "\nb\r\nc", "d\r"))
    assert "".join(data for _, data in data_of(stream)) == "a\nb\ncd\n"
    assert b"\r" not in stream


def test_waiting_is_a_comment(site: Site, pipeline: FakePipeline) -> None:
    waits: list[Step] = [step for _ in range(8) for step in (Waiting("queued"), 0.06)]
    stream = events_of(site, pipeline, *waits, *answer("text"))
    assert stream.startswith(b":\n\n:\n\n")
    assert data_of(stream) == [("message", "text")]


def test_a_late_error_is_an_event_of_its_own(site: Site, pipeline: FakePipeline) -> None:
    stream = events_of(site, pipeline, Accepted("demo", 1), Chunk("Hel"), GenerationFailed("it broke"))
    assert data_of(stream)[0] == ("message", "Hel")
    name, data = data_of(stream)[1]
    assert name == "error"
    assert json.loads(data) == {"detail": "it broke", "code": "generation_failed", "status": 500}


@pytest.mark.parametrize(("path", "body"), [("/generate", {"prompt": "x"})])
def test_a_late_error_of_a_plain_answer_is_an_object_instead_of_a_text(
    site: Site, pipeline: FakePipeline, path: str, body: dict[str, Any]
) -> None:
    waits: list[Step] = [step for _ in range(8) for step in (Waiting("queued"), 0.06)]
    pipeline.script = lambda request: [*waits, GenerationFailed("it broke")]
    response = site.post(body, path)
    assert response.text.startswith(" ")
    assert response.json() == {"detail": "it broke", "code": "generation_failed", "status": 500}


def test_an_answer_without_any_text_is_an_empty_string(site: Site, pipeline: FakePipeline) -> None:
    nothing: list[Step] = [Accepted("demo", 1), Chunk("", finish_reason="stop"), Finished(Usage(), Timings())]
    pipeline.script = lambda request: nothing
    assert site.post({"prompt": "x"}, "/generate").json() == ""
    assert data_of(site.post({"prompt": "x"}, "/agenerate").content) == []


@pytest.mark.parametrize("path", ["/generate", "/agenerate"])
def test_a_client_that_goes_frees_its_place(site: Site, pipeline: FakePipeline, path: str) -> None:
    pipeline.script = lambda request: ENDLESS
    sock = site.raw({"prompt": "x"}, path)
    assert until(lambda: bool(pipeline.generations))
    sock.close()
    assert until(lambda: pipeline.generations[-1].ended.is_set())
