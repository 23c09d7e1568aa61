"""Errors of /v1/messages on a fake pipeline: in the original's shape, and as the official client raises them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anthropic
import pytest
import requests

from api_host import errors
from api_host.config import MAX_BODY_BYTES
from api_host.generation import Accepted, Chunk, Waiting
from tests.fakes.pipeline import FakePipeline
from tests.web.site import TOKEN, Site, events

PATH = "/v1/messages"
ASK: dict[str, Any] = {"model": "demo", "max_tokens": 64, "messages": [{"role": "user", "content": "Hi"}]}


@pytest.fixture(scope="module")
def client(shared_site: Site) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=shared_site.url, api_key=TOKEN, max_retries=0) as client:
        yield client


def test_a_late_error_ends_the_stream_and_raises_in_the_client(
    site: Site, pipeline: FakePipeline, client: anthropic.Anthropic
) -> None:
    died = errors.WorkerDied("the model's process ended")
    pipeline.script = lambda request: [Accepted("demo", 5), Chunk("Hel"), died]
    name, last = events(site.post({**ASK, "stream": True}, PATH).content)[-1]
    assert (name, last["type"]) == ("error", "error")
    assert last["error"] == {
        "type": "overloaded_error",
        "message": "the model's process ended",
        "code": "worker_died",
    }
    with (
        pytest.raises(anthropic.APIStatusError, match="overloaded_error"),
        client.messages.stream(**ASK) as stream,
    ):
        stream.get_final_message()


def test_a_late_error_of_a_plain_answer_is_its_body(site: Site, pipeline: FakePipeline) -> None:
    died = errors.WorkerDied("the model's process ended")
    pipeline.script = lambda request: [0.3, Waiting("loading"), 0.3, died]
    response = site.post(ASK, PATH)
    assert response.status_code == 200
    assert response.json()["error"]["type"] == "overloaded_error"


@pytest.mark.parametrize(
    ("error", "raised", "status", "kind"),
    [
        (errors.InvalidRequest("inputs: bad"), anthropic.BadRequestError, 400, "invalid_request_error"),
        (errors.GatedRepo("gated"), anthropic.PermissionDeniedError, 403, "permission_error"),
        (errors.RepoNotFound("no such repository"), anthropic.NotFoundError, 404, "not_found_error"),
        (errors.ModelBusy("busy"), anthropic.ConflictError, 409, "invalid_request_error"),
        (errors.ModelLoadFailed("broken"), anthropic.UnprocessableEntityError, 422, "invalid_request_error"),
        (errors.QueueFull("full", retry_after=3, limit=9), anthropic.RateLimitError, 429, "rate_limit_error"),
        (errors.HostStopping("stopping"), anthropic.InternalServerError, 503, "overloaded_error"),
        (errors.DownloadStalled("stalled"), anthropic.InternalServerError, 504, "timeout_error"),
        (errors.OutOfMemory("no memory"), anthropic.InternalServerError, 507, "api_error"),
        (RuntimeError("a fault"), anthropic.InternalServerError, 500, "api_error"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_errors_are_the_clients_own(
    pipeline: FakePipeline,
    client: anthropic.Anthropic,
    error: Exception,
    raised: type[anthropic.APIStatusError],
    status: int,
    kind: str,
    stream: bool,
) -> None:
    pipeline.refusal = error
    with pytest.raises(raised) as caught:
        client.messages.create(**ASK, stream=stream)
    assert caught.value.status_code == status
    body: Any = caught.value.body
    assert (body["type"], body["error"]["type"]) == ("error", kind)
    assert body["request_id"] == caught.value.request_id
    assert caught.value.response.headers.get("retry-after") == ("3" if status == 429 else None)
    assert "a fault" not in str(body)


def test_the_engines_fields_are_told_by_their_names_here(site: Site, pipeline: FakePipeline) -> None:
    pipeline.refusal = errors.InvalidRequest(
        "inputs: refused", "parameters.stop.0: bad", "parameters.top_k: bad", "parameters.json_schema: bad"
    )
    message = site.post(ASK, PATH).json()["error"]["message"]
    assert (
        message
        == "messages: refused; stop_sequences.0: bad; top_k: bad; json_schema, output_config or tools: bad"
    )


def test_a_prompt_that_is_too_long_is_told_in_words_that_clients_know(
    site: Site, pipeline: FakePipeline
) -> None:
    pipeline.refusal = errors.ContextLengthExceeded(
        "inputs: 9 tokens and room for 5", n_prompt_tokens=9, n_ctx=5
    )
    error = site.post(ASK, PATH).json()["error"]
    assert error["message"].startswith("prompt is too long: messages: 9 tokens")
    assert (error["code"], error["n_prompt_tokens"], error["n_ctx"]) == ("context_length_exceeded", 9, 5)


@pytest.mark.parametrize("path", [PATH, f"{PATH}/count_tokens"])
def test_what_no_route_has_seen_is_refused_in_this_shape_too(site: Site, path: str) -> None:
    wrong_token = requests.post(site.url + path, json=ASK, headers={"x-api-key": "wrong"}, timeout=10)
    assert refusal_of(wrong_token) == (401, "authentication_error")
    assert wrong_token.headers["WWW-Authenticate"] == "Bearer"
    assert refusal_of(site.get(path)) == (405, "invalid_request_error")
    assert refusal_of(site.post(ASK, f"{path}/batches")) == (404, "not_found_error")
    broken = site.session.post(site.url + path, data=b"{", timeout=10)
    assert refusal_of(broken) == (400, "invalid_request_error")
    picture = site.session.post(site.url + path, data=b"x", headers={"Content-Type": "image/png"}, timeout=10)
    assert refusal_of(picture) == (415, "invalid_request_error")
    large = site.app.test_client().post(path, data=b"x" * (MAX_BODY_BYTES + 1), headers={"x-api-key": TOKEN})
    assert (large.status_code, large.get_json()["error"]["type"]) == (413, "request_too_large")


def refusal_of(response: requests.Response) -> tuple[int, str]:
    body = response.json()
    assert body["type"] == "error"
    return response.status_code, body["error"]["type"]
