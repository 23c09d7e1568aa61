"""Errors below /v1: always OpenAI's object, with the status and headers that its client library acts on."""

from __future__ import annotations

import json
import time
from typing import Any

import openai
import pytest
import requests

from api_host import errors
from api_host.config import MAX_BODY_BYTES
from api_host.generation import Accepted, Chunk, Waiting
from tests.dialects.openai_stream import stream_of
from tests.fakes.pipeline import FakePipeline, answer
from tests.web.site import ENDLESS, TOKEN, Site, until

CHAT = "/v1/chat/completions"
HI: Any = [{"role": "user", "content": "Hi"}]
BODIES: dict[str, dict[str, Any]] = {
    CHAT: {"messages": HI},
    "/v1/completions": {"prompt": "Hi"},
    "/v1/embeddings": {"input": "Hi"},
}


def error_of(response: requests.Response) -> dict[str, Any]:
    """The error object of an answer, which has all of its four fields."""
    body = response.json()
    assert set(body) == {"error"}
    assert {"message", "type", "param", "code"} <= set(body["error"])
    assert "Traceback" not in response.text
    return dict(body["error"])


@pytest.mark.parametrize("path", [*BODIES, "/v1/models", "/v1/models/demo"])
@pytest.mark.parametrize("token", [None, "wrong"])
def test_a_wrong_token_is_told_with_401(site: Site, path: str, token: str | None) -> None:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    method = "POST" if path in BODIES else "GET"
    response = requests.request(method, site.url + path, json=BODIES.get(path), headers=headers, timeout=10)
    error = error_of(response)
    assert (response.status_code, response.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert (error["type"], error["code"], error["message"]) == (
        "authentication_error",
        "invalid_api_key",
        "wrong token",
    )
    assert site.pipeline.requests == []


@pytest.mark.parametrize("path", BODIES)
def test_the_token_may_stand_in_the_body(site: Site, path: str) -> None:
    response = requests.post(site.url + path, json={**BODIES[path], "token": TOKEN}, timeout=10)
    assert response.status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/nothing", 404, "not_found"),
        ("POST", "/v1/audio/speech", 404, "not_found"),
        ("GET", CHAT, 405, "method_not_allowed"),
        ("DELETE", "/v1/models/demo", 405, "method_not_allowed"),
    ],
)
def test_addresses_and_methods_that_there_are_not(
    site: Site, method: str, path: str, status: int, code: str
) -> None:
    response = site.session.request(method, site.url + path, timeout=10)
    error = error_of(response)
    assert (response.status_code, error["code"], error["type"]) == (status, code, "invalid_request_error")


@pytest.mark.parametrize("path", BODIES)
def test_bodies_that_cannot_be_read(site: Site, path: str) -> None:
    def post(data: bytes, **headers: str) -> requests.Response:
        return site.session.post(site.url + path, data=data, headers=headers, timeout=10)

    assert "not valid JSON" in error_of(post(b'{"a": ', **{"Content-Type": "application/json"}))["message"]
    assert (
        "a list; allowed: a JSON object"
        in error_of(post(b"[]", **{"Content-Type": "application/json"}))["message"]
    )
    assert "is empty" in error_of(post(b""))["message"]
    unread = post(b"<a/>", **{"Content-Type": "application/xml"})
    assert (unread.status_code, error_of(unread)["code"]) == (415, "unsupported_media_type")
    pieces = (b"x" * (1 << 20) for _ in range(MAX_BODY_BYTES // (1 << 20) + 1))
    large = site.session.post(site.url + path, data=pieces, timeout=10)
    assert (large.status_code, error_of(large)["code"]) == (413, "body_too_large")


@pytest.mark.parametrize(
    ("failure", "status", "kind", "raised"),
    [
        (
            errors.QueueFull("full", retry_after=2.5, limit=100),
            429,
            "rate_limit_error",
            openai.RateLimitError,
        ),
        (errors.HostStopping("stopping", retry_after=1), 503, "server_error", openai.InternalServerError),
        (errors.RepoNotFound("no such repository"), 404, "invalid_request_error", openai.NotFoundError),
        (
            errors.GatedRepo("ask for access", accept_at="x"),
            403,
            "permission_error",
            openai.PermissionDeniedError,
        ),
        (
            errors.ModelLoadFailed("it cools down", retry_after=9),
            422,
            "invalid_request_error",
            openai.UnprocessableEntityError,
        ),
        (errors.ModelBusy("busy", retry_after=5), 409, "invalid_request_error", openai.ConflictError),
        (errors.OutOfMemory("no room", needed=2, free=1), 507, "server_error", openai.InternalServerError),
        (ZeroDivisionError("secret"), 500, "server_error", openai.InternalServerError),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_an_early_error_keeps_its_status(
    openai_client: openai.OpenAI,
    pipeline: FakePipeline,
    failure: Exception,
    status: int,
    kind: str,
    raised: type[openai.APIStatusError],
    stream: bool,
) -> None:
    pipeline.script = lambda request: [Waiting("loading"), failure]
    with pytest.raises(raised) as caught:
        openai_client.chat.completions.create(model="demo", messages=HI, stream=stream)
    assert caught.value.status_code == status
    body = caught.value.body
    assert isinstance(body, dict)
    assert body["type"] == kind and "secret" not in str(body)
    details = failure.details if isinstance(failure, errors.ApiHostError) else {}
    assert {name: body[name] for name in details} == details
    wait = getattr(failure, "retry_after", None)
    assert caught.value.response.headers.get("Retry-After") == (
        None if wait is None else str(-int(-wait // 1))
    )


def test_models_that_are_not_found_have_openais_code(
    openai_client: openai.OpenAI, pipeline: FakePipeline
) -> None:
    pipeline.refusal = errors.RepoNotFound("there is no repository a/b")
    with pytest.raises(openai.NotFoundError) as caught:
        openai_client.chat.completions.create(model="a/b", messages=HI)
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


def test_the_client_library_waits_and_tries_again(shared_site: Site, pipeline: FakePipeline) -> None:
    scripts = [[errors.QueueFull("full", retry_after=0.5, limit=1)], answer("Hello")]
    pipeline.script = lambda request: scripts.pop(0)  # type: ignore[arg-type,return-value]
    started = time.monotonic()
    with openai.OpenAI(base_url=f"{shared_site.url}/v1", api_key=TOKEN, max_retries=2) as openai_client:
        answered = openai_client.chat.completions.create(model="demo", messages=HI)
    assert answered.choices[0].message.content == "Hello"
    assert time.monotonic() - started >= 1  # Retry-After is in whole seconds


@pytest.mark.parametrize("path", [CHAT, "/v1/completions"])
def test_a_late_error_of_a_stream_is_its_last_event(site: Site, pipeline: FakePipeline, path: str) -> None:
    failure = errors.WorkerDied("it died", retry_after=3)
    pipeline.script = lambda request: [Accepted("demo", 1), Chunk("a"), failure]
    response = site.post({**BODIES[path], "stream": True}, path)
    assert response.status_code == 200
    *_, before, last = stream_of(response.content)
    assert "choices" in before
    assert set(last) == {"error"}
    assert last["error"] == {
        "message": "it died",
        "type": "server_error",
        "param": None,
        "code": "worker_died",
        "status": 503,
        "retry_after": 3,
    }


def test_the_client_library_raises_a_late_error(openai_client: openai.OpenAI, pipeline: FakePipeline) -> None:
    pipeline.script = lambda request: [Accepted("demo", 1), Chunk("a"), errors.GenerationFailed("no more")]
    texts = []
    with pytest.raises(openai.APIError, match="no more"):
        for chunk in openai_client.chat.completions.create(model="demo", messages=HI, stream=True):
            texts.append(chunk.choices[0].delta.content)
    assert "".join(text or "" for text in texts) == "a"


def test_a_late_error_of_a_plain_answer_is_in_its_body(site: Site, pipeline: FakePipeline) -> None:
    waits = [step for _ in range(4) for step in (Waiting("loading"), 0.1)]
    pipeline.script = lambda request: [*waits, errors.InvalidRequest("inputs: is wrong")]
    response = site.post({"messages": HI}, CHAT)
    assert (response.status_code, response.content[:1]) == (200, b" ")
    error = error_of(response)
    assert (error["param"], error["status"]) == ("messages", 400)


def test_a_slow_stream_is_kept_alive_by_comments(
    openai_client: openai.OpenAI, site: Site, pipeline: FakePipeline
) -> None:
    waits = [step for _ in range(6) for step in (0.1, Waiting("queued"))]
    pipeline.script = lambda request: [*waits, *answer("late")]
    content = site.post({"messages": HI, "stream": True}, CHAT).content
    assert content.startswith(b":\n\n") and content.count(b":\n\n") >= 3
    stream = openai_client.chat.completions.create(model="demo", messages=HI, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == "late"


def test_a_slow_plain_answer_is_padded_with_spaces(
    openai_client: openai.OpenAI, pipeline: FakePipeline
) -> None:
    waits = [step for _ in range(6) for step in (0.1, Waiting("queued"))]
    pipeline.script = lambda request: [Accepted("demo", 1), *waits, *answer("late")[1:]]
    raw = openai_client.chat.completions.with_raw_response.create(model="demo", messages=HI)
    assert raw.content.startswith(b" ")
    assert json.loads(raw.content)["choices"][0]["message"]["content"] == "late"
    assert raw.parse().choices[0].message.content == "late"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", [CHAT, "/v1/completions"])
def test_a_client_that_goes_cancels_its_generation(
    site: Site, pipeline: FakePipeline, path: str, stream: bool
) -> None:
    pipeline.script = lambda request: ENDLESS
    sock = site.raw({**BODIES[path], "stream": stream}, path)
    assert until(lambda: bool(pipeline.generations))
    assert not pipeline.generations[0].ended.wait(0.05)
    sock.close()
    assert pipeline.generations[0].ended.wait(10)
