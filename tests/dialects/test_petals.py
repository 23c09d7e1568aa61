"""Petals over HTTP: fields in any of three ways, and errors that are 200s."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests

from api_host.errors import ContextLengthExceeded, GenerationFailed, QueueFull, RepoNotFound
from api_host.generation import Accepted, Waiting
from api_host.host import ApiHost
from tests.fakes.pipeline import answer
from tests.web.site import Site, until

PATH = "/api/v1/generate"
FRANCE = "What is the capital of France?"


def send(site: Site, fields: Any) -> Any:
    reply = site.post(fields, PATH)
    assert reply.status_code == 200
    return reply.json()


def refused(site: Site, **fields: Any) -> str:
    """What the traceback says of a request that is refused."""
    reply = send(site, {"inputs": "Hi", "max_new_tokens": 5, **fields})
    assert set(reply) == {"ok", "traceback"}
    assert reply["ok"] is False
    return str(reply["traceback"])


@pytest.mark.parametrize("way", ["json", "data", "params"])
def test_the_demo_model_completes_a_text(demo_host: ApiHost, way: str) -> None:
    fields = {"model": "demo", "inputs": FRANCE, "max_new_tokens": 20}
    reply = requests.post(demo_host.local_url + PATH, headers=token(demo_host), timeout=30, **{way: fields})
    assert reply.status_code == 200
    assert reply.json()["ok"] is True
    assert "Paris" in reply.json()["outputs"]
    assert FRANCE not in reply.json()["outputs"]


def test_the_token_may_be_a_field_of_the_form(demo_host: ApiHost) -> None:
    fields = {"inputs": FRANCE, "max_new_tokens": 1, "token": demo_host.access_token}
    assert requests.post(demo_host.local_url + PATH, data=fields, timeout=30).json()["ok"]


def test_max_length_counts_the_text_too(demo_host: ApiHost) -> None:
    def outputs(**bound: int) -> Any:
        fields = {"inputs": FRANCE, **bound}
        return requests.post(
            demo_host.local_url + PATH, data=fields, headers=token(demo_host), timeout=30
        ).json()

    too_short = outputs(max_length=3)
    assert too_short["ok"] is False
    least = int(too_short["traceback"].rpartition("at least ")[2])
    assert too_short["traceback"].startswith("InvalidRequest: max_length: the prompt has")
    assert outputs(max_length=least + 2)["outputs"] == outputs(max_new_tokens=3)["outputs"]
    assert outputs(max_length=least + 2, max_new_tokens=1)["outputs"] == outputs(max_new_tokens=1)["outputs"]


def token(host: ApiHost) -> dict[str, str]:
    return {"Authorization": f"Bearer {host.access_token}"}


def test_fields_become_the_engines_own(site: Site) -> None:
    fields = {"do_sample": 1, "temperature": 0.6, "top_k": 7, "top_p": 0.9, "repetition_penalty": 1.2}
    send(site, {"inputs": "Hi", "repo_id": "o/n", "file_name": "a.gguf", "max_new_tokens": 9, **fields})
    asked = site.pipeline.requests[0]
    assert (asked.inputs, asked.model) == ("Hi", "o/n/a.gguf")
    sampling = asked.sampling
    assert (sampling.max_tokens, sampling.max_length) == (9, None)
    assert (sampling.temperature, sampling.top_k, sampling.top_p) == (0.6, 7, 0.9)
    assert (sampling.repeat_penalty, sampling.repeat_last_n) == (1.2, -1)


def test_greedy_is_the_default_and_what_is_left_out_is_off(site: Site) -> None:
    send(site, {"inputs": "Hi", "max_new_tokens": 9, "temperature": 0.6, "do_sample": 0, "top_p": None})
    send(site, {"inputs": "Hi", "max_length": 9, "do_sample": True, "unknown": 1})
    greedy, drawn = (request.sampling for request in site.pipeline.requests)
    assert greedy.greedy
    assert (drawn.temperature, drawn.top_k, drawn.top_p, drawn.repeat_penalty) == (1.0, 0, 1.0, 1.0)
    assert not drawn.greedy
    assert (drawn.max_length, drawn.max_tokens) == (9, 1_000_000)


def test_the_body_counts_where_the_query_says_otherwise(site: Site) -> None:
    site.post({"inputs": "body"}, PATH + "?inputs=query&max_new_tokens=3")
    assert site.pipeline.requests[0].inputs == "body"
    assert site.pipeline.requests[0].sampling.max_tokens == 3


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        (
            {"inputs": None},
            "InvalidRequest: inputs: null is not text; allowed: text of at least 1 characters",
        ),
        ({"inputs": ""}, 'InvalidRequest: inputs: "" is too short'),
        ({"max_new_tokens": None}, "InvalidRequest: max_new_tokens: is missing"),
        (
            {"max_new_tokens": 0},
            "InvalidRequest: max_new_tokens: 0 is too small; allowed: a whole number from 1",
        ),
        ({"max_new_tokens": "many"}, 'InvalidRequest: max_new_tokens: "many"'),
        ({"top_p": 7}, "InvalidRequest: top_p: 7 is too large; allowed: a number from 0 up to 1"),
        ({"do_sample": 2}, "InvalidRequest: do_sample: 2"),
        ({"model": ""}, "InvalidRequest: model: is empty"),
        ({"repo_id": "o/n"}, "InvalidRequest: file_name: is missing"),
    ],
)
def test_wrong_fields_are_named(site: Site, fields: dict[str, Any], sentence: str) -> None:
    assert refused(site, **fields).startswith(sentence)


def test_all_wrong_fields_are_named_at_once(site: Site) -> None:
    told = refused(site, top_p=7, temperature=-1, max_new_tokens=0)
    assert all(name in told for name in ("top_p:", "temperature:", "max_new_tokens:"))


@pytest.mark.parametrize("body", [b'{"inputs": ', b"[1]", b"nonsense", b""])
def test_a_broken_body_is_no_500(site: Site, body: bytes) -> None:
    reply = site.session.post(
        site.url + PATH, data=body, headers={"Content-Type": "application/json"}, timeout=5
    )
    assert reply.status_code == 200
    assert reply.json()["ok"] is False
    assert reply.json()["traceback"].startswith("InvalidRequest: ")


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (RepoNotFound("repo_id: there is no such repository"), "RepoNotFound: repo_id: there is no"),
        (QueueFull("try later", retry_after=5), "QueueFull: try later"),
        (
            ContextLengthExceeded("inputs: too long; ask for a longer options.ctx_length"),
            "ContextLengthExceeded: inputs: too long; ask for a longer context",
        ),
        (ZeroDivisionError("secret"), "ApiHostError: internal error ("),
    ],
)
def test_errors_are_200s_with_class_and_cause(site: Site, error: Exception, sentence: str) -> None:
    site.pipeline.refusal = error
    assert refused(site).startswith(sentence)
    site.pipeline.reset()
    site.pipeline.script = lambda request: [error]
    told = refused(site)
    assert told.startswith(sentence)
    assert "secret" not in told


def test_a_busy_host_says_when_to_come_again(site: Site) -> None:
    site.pipeline.refusal = QueueFull("try later", retry_after=5)
    assert site.post({"inputs": "Hi", "max_new_tokens": 1}, PATH).headers["Retry-After"] == "5"


def test_a_late_error_ends_a_padded_answer_as_json(site: Site) -> None:
    waits = [Waiting("downloading"), 0.3, Waiting("downloading"), 0.1]
    site.pipeline.script = lambda request: [*waits, GenerationFailed("it broke")]
    reply = site.post({"inputs": "Hi", "max_new_tokens": 1}, PATH)
    assert reply.status_code == 200
    assert reply.text.startswith(" ")
    assert reply.json() == {"ok": False, "traceback": "GenerationFailed: it broke"}
    site.pipeline.script = lambda request: [*waits, *answer("Hello", " there")]
    reply = site.post({"inputs": "Hi", "max_new_tokens": 1}, PATH)
    assert reply.text.startswith(" ")
    assert reply.json() == {"ok": True, "outputs": "Hello there"}


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer no"}])
def test_a_wrong_token_is_a_401(site: Site, headers: dict[str, str]) -> None:
    reply = requests.post(site.url + PATH, json={"inputs": "Hi"}, headers=headers, timeout=5)
    assert (reply.status_code, reply.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert reply.json() == {"ok": False, "traceback": "WrongToken: wrong token"}


def test_what_http_refuses_keeps_its_status(site: Site) -> None:
    def failed(reply: requests.Response) -> int:
        assert reply.json()["ok"] is False
        return reply.status_code

    assert failed(site.get(PATH)) == 405
    assert failed(site.get("/api/v1/nothing")) == 404
    assert failed(site.post({}, "/api/v2/nothing")) == 404
    assert failed(site.get("/api/v2/generate")) == 426
    assert failed(site.post({}, "/api/v2/generate")) == 405
    head = {"Content-Encoding": "gzip"}
    assert failed(site.session.post(site.url + PATH, data=b"x", headers=head, timeout=5)) == 415
    pieces = iter([b"inputs=", *[b"x" * 1_000_000] * 34])
    large = site.session.post(site.url + PATH, data=pieces, timeout=20)
    assert failed(large) == 413


def test_a_client_that_goes_cancels_its_generation(site: Site) -> None:
    site.pipeline.script = lambda request: [Accepted("demo", 1), 60.0]
    sock = site.raw({"inputs": "Hi", "max_new_tokens": 5}, PATH)
    assert until(lambda: bool(site.pipeline.generations))
    sock.close()
    assert site.pipeline.generations[0].ended.wait(10)


def test_json_is_read_whatever_its_content_type(site: Site) -> None:
    body = json.dumps({"inputs": "Hi", "max_new_tokens": 2})
    for content_type in ("application/x-www-form-urlencoded", "text/plain", "application/json"):
        head = {"Content-Type": content_type}
        assert site.session.post(site.url + PATH, data=body, headers=head, timeout=5).json()["ok"]


def test_a_form_of_many_parts_is_not_too_large(site: Site) -> None:
    parts = {f"note {i}": (None, "x") for i in range(1200)} | {
        "inputs": (None, "Hi"),
        "max_new_tokens": (None, "4"),
    }
    response = site.session.post(f"{site.url}/api/v1/generate", files=parts, timeout=10)
    assert response.json()["ok"], response.text
