"""The Zephyr API on a pipeline without models: fields, prompts, and errors in its own shape."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, get_type_hints

import pytest
import requests

from api_host import errors
from api_host.generation import Accepted, Chunk, Finished, Message, SamplingParams, Timings, Usage, Waiting
from api_host.web.dialects.zephyr import prompts
from api_host.web.dialects.zephyr.bodies import Sampled
from tests.fakes.pipeline import answer
from tests.web.site import TOKEN, Site, until

QUERY_ROUTES = ("/zephyr/raw", "/zephyr/python", "/zephyr/system-message", "/zephyr/structured-code-doc")
ROUTES = (*QUERY_ROUTES, "/zephyr/code-doc")
HI = {"user_message": "Hi"}


def body_for(path: str) -> dict[str, Any]:
    return {"code": "x = 1"} if path == "/zephyr/code-doc" else dict(HI)


def detail(response: requests.Response, status: int = 400) -> str:
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == "application/json"
    return str(response.json()["detail"])


def turns(site: Site) -> dict[str, str]:
    """The turns of the last request's chat, by role."""
    inputs = site.pipeline.requests[-1].inputs
    assert isinstance(inputs, list)
    assert all(isinstance(turn, Message) for turn in inputs)
    return {turn.role: turn.content for turn in inputs}


@pytest.mark.parametrize("path", ROUTES)
def test_a_route_answers_with_the_text_alone(site: Site, path: str) -> None:
    response = site.post(body_for(path), path)
    assert (response.status_code, response.json()) == (200, {"response": "Hello there"})
    assert [turn.role for turn in site.pipeline.requests[0].inputs] == ["system", "user"]  # type: ignore[union-attr]


@pytest.mark.parametrize("path", ROUTES)
def test_the_defaults_are_those_of_the_original(site: Site, path: str) -> None:
    site.post(body_for(path), path)
    asked = site.pipeline.requests[0]
    assert asked.sampling == SamplingParams(max_tokens=256, temperature=0.7, top_k=50, top_p=0.95)
    assert (asked.model, asked.chat_format, asked.want_prompt) == (None, None, path == "/zephyr/raw")


@pytest.mark.parametrize("path", ROUTES)
def test_every_sampling_field_and_the_model_reach_the_pipeline(site: Site, path: str) -> None:
    fields = {"max_new_tokens": 7, "temperature": 0.5, "top_k": 3, "top_p": 0.5, "seed": 11}
    named = {"repo_id": "a/b", "file_name": "c.gguf", "chat_format": "zephyr", "token": TOKEN, "unknown": [1]}
    assert site.post({**body_for(path), **fields, **named}, path).status_code == 200
    asked = site.pipeline.requests[0]
    assert asked.sampling == SamplingParams(max_tokens=7, temperature=0.5, top_k=3, top_p=0.5, seed=11)
    assert (asked.model, asked.chat_format) == ("a/b/c.gguf", "zephyr")
    site.post({**body_for(path), "do_sample": False, "model": "demo"}, path)
    assert site.pipeline.requests[1].sampling.greedy
    assert site.pipeline.requests[1].model == "demo"


def test_json_is_taken_without_a_content_type(site: Site) -> None:
    for content_type in (None, "text/plain", "application/x-www-form-urlencoded"):
        headers = {"Content-Type": content_type} if content_type else {}
        for path in ROUTES:
            data = json.dumps(body_for(path)).encode()
            response = site.session.post(site.url + path, data=data, headers=headers, timeout=10)
            assert response.json() == {"response": "Hello there"}, (path, content_type)


def test_raw_takes_the_query_string_a_form_and_json_and_the_body_counts_first(site: Site) -> None:
    for arguments in (
        {"params": {"user_message": "Hi", "max_new_tokens": "9", "do_sample": "false"}},
        {"data": {"user_message": "Hi", "max_new_tokens": "9", "do_sample": "false"}},
        {"json": {"user_message": "Hi", "max_new_tokens": 9, "do_sample": False}},
        {"params": {"user_message": "Ho"}, "json": {**HI, "max_new_tokens": 9, "do_sample": False}},
    ):
        response = site.session.post(site.url + "/zephyr/raw", timeout=10, **arguments)  # type: ignore[arg-type]
        assert response.status_code == 200, response.text
        assert turns(site)["user"] == "Hi"
        sampling = site.pipeline.requests[-1].sampling
        assert (sampling.max_tokens, sampling.greedy) == (9, True)
    site.post({"token": TOKEN}, "/zephyr/raw?user_message=Ho")
    assert turns(site)["user"] == "Ho"


def test_raw_shows_the_prompt_before_the_answer(site: Site) -> None:
    events = [Accepted("demo", 5, "<|user|>\nHi</s>\n<|assistant|>\n"), *answer("Hello")[1:]]
    site.pipeline.script = lambda request: events
    assert site.post(HI, "/zephyr/raw").json() == {"response": "<|user|>\nHi</s>\n<|assistant|>\nHello"}
    assert site.post(HI, "/zephyr/python").json() == {"response": "Hello"}


def test_the_system_message_is_a_python_developers_until_another_is_given(site: Site) -> None:
    for path in ("/zephyr/raw", "/zephyr/python", "/zephyr/system-message"):
        site.post(HI, path)
        assert turns(site) == {"system": prompts.PYTHON_DEVELOPER, "user": "Hi"}
        site.post({**HI, "system_message": "Rhyme."}, path)
        assert turns(site)["system"] == "Rhyme."


def test_structured_documentation_names_its_sections(site: Site) -> None:
    site.post(HI, "/zephyr/structured-code-doc")
    assert turns(site)["user"] == "Hi"
    for section in ("Overview", "Parameters", "Return values", "Errors", "Example"):
        assert section in turns(site)["system"]


def test_python_code_is_formatted_before_it_is_documented(site: Site) -> None:
    pytest.importorskip("black", reason="black is missing; pip install 'api-host[zephyr]'")
    site.post({"code": "def f( a ):\n  return  {'b':a}"}, "/zephyr/code-doc")
    assert '```python\ndef f(a):\n    return {"b": a}\n```' in turns(site)["user"]


def test_what_is_no_python_stays_as_it_came(site: Site) -> None:
    site.post({"code": "def f( a:"}, "/zephyr/code-doc")
    assert "```python\ndef f( a:\n```" in turns(site)["user"]
    site.post({"code": "x =  [1 ]", "language": "Ruby"}, "/zephyr/code-doc")
    assert "Document this Ruby code.\n\n```ruby\nx =  [1 ]\n```" in turns(site)["user"]


def test_a_fence_inside_the_code_does_not_end_the_block(site: Site) -> None:
    site.post({"code": "a\n````\nb", "language": "markdown"}, "/zephyr/code-doc")
    assert "`````markdown\na\n````\nb\n`````" in turns(site)["user"]


def test_comments_are_asked_for_or_not(site: Site) -> None:
    asked = []
    for wanted in (True, False):
        site.post({"code": "x", "include_comments": wanted}, "/zephyr/code-doc")
        asked.append(turns(site)["user"])
    assert "with a comment at each step" in asked[0]
    assert "leave comments out" in asked[1]


@pytest.mark.parametrize("path", ROUTES[1:])
def test_every_wrong_field_is_told_in_one_sentence_of_its_own(site: Site, path: str) -> None:
    wrong = {"max_new_tokens": 0, "temperature": "hot", "top_k": -1, "top_p": -1, "do_sample": "yes"}
    found = detail(site.post(wrong, path)).split("; ")
    text = "code" if path == "/zephyr/code-doc" else "user_message"
    assert f"{text}: is missing" in found
    for sentence in (
        "max_new_tokens: 0 is too small",
        'temperature: "hot" is not a number',
        "top_k: -1 is too small",
        "top_p: -1 is too small",
        'do_sample: "yes" is not true or false',
    ):
        assert sentence in found
    assert site.pipeline.requests == []


def test_raws_wrong_fields_are_told_too(site: Site) -> None:
    assert detail(site.post(None, "/zephyr/raw")).startswith("user_message: is missing")
    found = detail(site.session.post(site.url + "/zephyr/raw?user_message=Hi&top_k=many", timeout=10))
    assert found.startswith('top_k: "many" is not ')
    assert found.endswith("allowed: a whole number from 0 up to 1000000")
    found = detail(site.session.post(site.url + "/zephyr/raw?user_message=a&top_p=nan", timeout=10))
    assert found.startswith('top_p: "nan" is')
    assert detail(site.post([1], "/zephyr/raw")).startswith("the body is not a JSON object")


def test_the_bounds_are_those_of_the_sampling_parameters() -> None:
    ours = get_type_hints(Sampled, include_extras=True)
    theirs = get_type_hints(SamplingParams, include_extras=True)
    for name in ("temperature", "top_k", "top_p", "seed"):
        assert ours[name] == theirs[name]
    assert ours["max_new_tokens"] == theirs["max_tokens"]
    assert {field.name for field in dataclasses.fields(Sampled)} >= {"token", "model", "repo_id", "file_name"}


@pytest.mark.parametrize("path", ROUTES)
def test_errors_have_the_shape_that_clients_of_fastapi_read(site: Site, path: str) -> None:
    for data, sentence in ((b'{"user_', "the body is not valid JSON"), (b"[1]", "the body is ")):
        headers = {"Content-Type": "application/json"}
        response = site.session.post(site.url + path, data=data, headers=headers, timeout=10)
        assert detail(response).startswith(sentence)
    large = site.session.post(site.url + path, data=(b"x" * (1 << 20) for _ in range(33)), timeout=10)
    assert "too large" in detail(large, 413)
    assert detail(site.get(path), 405).startswith("this method is not allowed")
    response = site.session.post(
        site.url + path, data=b"\x1f", headers={"Content-Encoding": "gzip"}, timeout=10
    )
    assert "gzip" in detail(response, 415)


def test_addresses_without_a_route_are_answered_in_its_shape(site: Site) -> None:
    assert detail(site.post(HI, "/zephyr/nothing"), 404).startswith("there is nothing")


@pytest.mark.parametrize("path", [*ROUTES, "/zephyr"])
def test_a_wrong_token_gets_a_401(site: Site, path: str) -> None:
    for arguments in ({}, {"headers": {"Authorization": "Bearer wrong-token"}}):
        method = "GET" if path == "/zephyr" else "POST"
        response = requests.request(method, site.url + path, json=body_for(path), timeout=10, **arguments)
        assert detail(response, 401) == "wrong token"
        assert response.headers["WWW-Authenticate"] == "Bearer"
    if path != "/zephyr":
        body = {**body_for(path), "token": TOKEN}
        assert requests.post(site.url + path, json=body, timeout=10).status_code == 200


def test_overload_says_when_to_try_again_and_where_the_limit_is(site: Site) -> None:
    site.pipeline.refusal = errors.QueueFull("the queue is full", retry_after=2.5, limit=100)
    response = site.post(HI, "/zephyr/python")
    assert detail(response, 429) == "the queue is full"
    assert (response.headers["Retry-After"], response.json()["limit"]) == ("3", 100)


@pytest.mark.parametrize(
    ("path", "field"), [("/zephyr/python", "user_message"), ("/zephyr/code-doc", "code")]
)
def test_the_engines_errors_name_this_requests_fields(site: Site, path: str, field: str) -> None:
    site.pipeline.script = lambda request: [
        errors.ContextLengthExceeded("inputs: the prompt has 9 tokens", n_prompt_tokens=9, n_ctx=8)
    ]
    response = site.post(body_for(path), path)
    assert detail(response) == f"{field}: the prompt has 9 tokens"
    assert response.json()["code"] == "context_length_exceeded"
    assert (response.json()["n_prompt_tokens"], response.json()["n_ctx"]) == (9, 8)
    site.pipeline.script = lambda request: [
        errors.InvalidRequest("options.chat_format: this model carries no chat template")
    ]
    assert detail(site.post(body_for(path), path)).startswith("chat_format: this model carries no")


def test_a_slow_answer_begins_with_spaces_and_ends_as_json(site: Site) -> None:
    site.pipeline.script = lambda request: [Waiting("loading"), 0.3, *answer("Hello")]
    response = site.post(HI, "/zephyr/python")
    assert response.content.startswith(b" ")
    assert response.json() == {"response": "Hello"}


def test_an_error_after_the_first_byte_stands_in_the_body(site: Site) -> None:
    late = errors.WorkerDied("inputs: gone", retry_after=3.0)
    site.pipeline.script = lambda request: [Waiting("loading"), 0.3, Chunk("Hel"), late]
    response = site.post(HI, "/zephyr/python")
    assert response.status_code == 200
    expected = {"detail": "inputs: gone", "code": "worker_died", "status": 503, "retry_after": 3.0}
    assert response.json() == expected


def test_a_crash_tells_nothing_of_the_host(site: Site) -> None:
    site.pipeline.refusal = RuntimeError("secret /home/path")
    assert detail(site.post(HI, "/zephyr/python"), 500) == "internal error"


def test_a_client_that_goes_cancels_its_generation(site: Site) -> None:
    site.pipeline.script = lambda request: [Waiting("queued"), 30.0, Finished(Usage(), Timings())]
    with site.raw(HI, "/zephyr/python"):
        assert until(lambda: len(site.pipeline.generations) == 1)
    assert site.pipeline.generations[0].cancelled.wait(10)
    assert site.pipeline.generations[0].ended.wait(10)


def test_the_welcome_lists_the_endpoints(site: Site) -> None:
    endpoints = {(told["method"], told["path"]) for told in site.get("/zephyr").json()["endpoints"]}
    assert endpoints == {
        ("GET", "/zephyr"),
        ("WS", "/zephyr/ws/gpu-stats"),
        *[("POST", path) for path in ROUTES],
    }
