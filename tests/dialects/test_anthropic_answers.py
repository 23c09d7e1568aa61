"""POST /v1/messages on a fake pipeline: events, messages and errors, bare and as the official client reads them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import anthropic
import pytest
import requests

from api_host import errors
from api_host.config import MAX_BODY_BYTES
from api_host.generation import Accepted, Chunk, Finished, FinishReason, Timings, Usage, Waiting
from tests.fakes.pipeline import FakePipeline, Step
from tests.web.site import ENDLESS, TOKEN, Site, events, read_all, until

PATH = "/v1/messages"
ASK: dict[str, Any] = {"model": "demo", "max_tokens": 64, "messages": [{"role": "user", "content": "Hi"}]}
TOOLS = [{"name": name, "input_schema": {"type": "object"}} for name in ("get_weather", "get_time")]
CALL = '<tool_call>{"name": "get_weather", "arguments": {"city": "Köln"}}</tool_call>'
SECOND_CALL = '<tool_call>{"name": "get_time", "arguments": {}}</tool_call>'


@pytest.fixture(scope="module")
def client(shared_site: Site) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=shared_site.url, api_key=TOKEN, max_retries=0) as client:
        yield client


def saying(*texts: str, reason: FinishReason = "stop", prompt: str = "") -> list[Step]:
    """The events of an answer whose last piece of text comes with its end."""
    *before, last = [Chunk(text, n_tokens=1) for text in texts]
    last.finish_reason = reason
    usage = Usage(prompt_tokens=5, completion_tokens=len(texts), cached_tokens=2)
    return [Accepted("demo", 5, prompt), *before, last, Finished(usage, Timings())]


def in_letters(text: str) -> list[Step]:
    return saying(*text)


def told(site: Site, **more: Any) -> list[dict[str, Any]]:
    """The events of a stream; each is named by its type."""
    found = events(site.post({**ASK, "stream": True, **more}, PATH).content)
    assert [name for name, _ in found] == [data["type"] for _, data in found]
    return [data for _, data in found]


def test_a_stream_has_the_events_of_the_original(site: Site) -> None:
    start, *rest = told(site)
    message = start["message"]
    assert message.pop("id").startswith("msg_")
    assert message == {
        "type": "message",
        "role": "assistant",
        "model": "demo",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {
            "input_tokens": 5,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": 0,
        },
    }
    usage = {
        "input_tokens": 3,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 2,
        "output_tokens": 2,
    }
    assert rest == [
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": " there"}},
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": usage,
        },
        {"type": "message_stop"},
    ]


def test_a_whole_message_is_what_the_stream_adds_up_to(
    site: Site, pipeline: FakePipeline, client: anthropic.Anthropic
) -> None:
    thinking = {"type": "enabled", "budget_tokens": 1024}
    pipeline.script = lambda request: in_letters(f"<think>\nhm\n</think>\n\nI look. {CALL}")
    whole = client.messages.create(**ASK, thinking=thinking, tools=TOOLS)
    with client.messages.stream(**ASK, thinking=thinking, tools=TOOLS) as stream:
        streamed = stream.get_final_message()
    kept = [
        block.model_dump(include={"type", "text", "thinking", "name", "input"}) for block in whole.content
    ]
    assert kept == [
        {"type": "thinking", "thinking": "hm"},
        {"type": "text", "text": "I look. "},
        {"type": "tool_use", "name": "get_weather", "input": {"city": "Köln"}},
    ]
    assert [block.to_dict() | {"id": ""} for block in streamed.content] == [
        block.to_dict() | {"id": ""} for block in whole.content
    ]
    assert whole.content[2].id.startswith("toolu_")
    assert whole.stop_reason == streamed.stop_reason == "tool_use"
    assert whole.usage == streamed.usage
    assert whole._request_id is not None


def test_the_events_of_a_call_carry_its_arguments_in_pieces(site: Site, pipeline: FakePipeline) -> None:
    pipeline.script = lambda request: in_letters(CALL + SECOND_CALL)
    found = told(site, tools=TOOLS)
    starts = [event["content_block"] for event in found if event["type"] == "content_block_start"]
    assert [(block["type"], block["name"], block["input"]) for block in starts] == [
        ("tool_use", "get_weather", {}),
        ("tool_use", "get_time", {}),
    ]
    pieces = [
        event["delta"] for event in found if event["type"] == "content_block_delta" and event["index"] == 0
    ]
    assert {piece["type"] for piece in pieces} == {"input_json_delta"}
    assert len(pieces) > 5
    assert json.loads("".join(piece["partial_json"] for piece in pieces)) == {"city": "Köln"}
    assert [event["index"] for event in found if event["type"] == "content_block_stop"] == [0, 1]


def test_only_the_first_call_is_told_where_one_is_allowed(site: Site, pipeline: FakePipeline) -> None:
    pipeline.script = lambda request: in_letters(CALL + SECOND_CALL)
    choice = {"type": "auto", "disable_parallel_tool_use": True}
    message = site.post({**ASK, "tools": TOOLS, "tool_choice": choice}, PATH).json()
    assert [block["name"] for block in message["content"]] == ["get_weather"]


def test_without_tools_what_looks_like_a_call_is_text(site: Site, pipeline: FakePipeline) -> None:
    pipeline.script = lambda request: in_letters(CALL)
    message = site.post(ASK, PATH).json()
    assert message["content"] == [{"type": "text", "text": CALL}]
    assert message["stop_reason"] == "end_turn"


def test_a_forced_call_is_read_from_its_generic_form(site: Site, pipeline: FakePipeline) -> None:
    pipeline.script = lambda request: saying('[{"name": "get_time", "argum', 'ents": {"zone": "CET"}}]')
    message = site.post({**ASK, "tools": TOOLS, "tool_choice": {"type": "any"}}, PATH).json()
    assert [(block["name"], block["input"]) for block in message["content"]] == [
        ("get_time", {"zone": "CET"})
    ]
    assert message["stop_reason"] == "tool_use"


def test_a_call_that_was_cut_has_as_much_of_its_input_as_came(site: Site, pipeline: FakePipeline) -> None:
    text = '[{"name": "get_time", "arguments": {"zone": "CET", "at": [1, '
    pipeline.script = lambda request: saying(text, reason="length")
    body = {**ASK, "tools": TOOLS, "tool_choice": {"type": "any"}}
    message = site.post(body, PATH).json()
    assert [block["input"] for block in message["content"]] == [{"zone": "CET", "at": [1]}]
    assert message["stop_reason"] == "max_tokens"


def test_a_rest_of_a_forced_call_is_no_text(site: Site, pipeline: FakePipeline) -> None:
    text = '[{"name": "get_time", "arguments": {}}, {"name": "get_t'
    pipeline.script = lambda request: saying(text, reason="length")
    message = site.post({**ASK, "tools": TOOLS, "tool_choice": {"type": "any"}}, PATH).json()
    assert [block["type"] for block in message["content"]] == ["tool_use"]


def test_reasoning_that_nobody_asked_for_is_left_out(site: Site, pipeline: FakePipeline) -> None:
    pipeline.script = lambda request: saying("hm\n</think>\n\nHello", prompt="<|assistant|>\n<think>\n")
    assert site.post(ASK, PATH).json()["content"] == [{"type": "text", "text": "Hello"}]
    asked = {**ASK, "thinking": {"type": "adaptive"}}
    assert site.post(asked, PATH).json()["content"] == [
        {"type": "thinking", "thinking": "hm", "signature": ""},
        {"type": "text", "text": "Hello"},
    ]


@pytest.mark.parametrize("pieces", [("One. END",), ("One. ", "END"), ("One. END", "")])
def test_the_stop_sequence_is_named_and_cut_off(
    site: Site, pipeline: FakePipeline, pieces: tuple[str, ...]
) -> None:
    pipeline.script = lambda request: saying(*pieces)
    message = site.post({**ASK, "stop_sequences": ["ND", "END"]}, PATH).json()
    assert message["content"] == [{"type": "text", "text": "One. "}]
    assert (message["stop_reason"], message["stop_sequence"]) == ("stop_sequence", "END")


def test_a_text_that_only_passes_a_stop_sequence_keeps_it(site: Site, pipeline: FakePipeline) -> None:
    pipeline.script = lambda request: saying("One END", " more", " END", reason="length")
    message = site.post({**ASK, "stop_sequences": ["END"]}, PATH).json()
    assert message["content"] == [{"type": "text", "text": "One END more END"}]
    assert (message["stop_reason"], message["stop_sequence"]) == ("max_tokens", None)


def test_an_answer_without_text_has_no_blocks(site: Site, pipeline: FakePipeline) -> None:
    pipeline.script = lambda request: saying("")
    assert site.post(ASK, PATH).json()["content"] == []


def test_a_stream_that_waits_sends_pings_which_the_client_passes_over(
    site: Site, pipeline: FakePipeline, client: anthropic.Anthropic
) -> None:
    waiting: list[Step] = [0.15, Waiting("loading"), 0.15, Waiting("loading"), 0.1]
    pipeline.script = lambda request: [*waiting, *saying("Hello")]
    with client.messages.stream(**ASK) as stream:
        assert stream.get_final_text() == "Hello"
    assert told(site)[0] == {"type": "ping"}


def test_a_plain_answer_that_waits_is_padded_and_stays_json(
    pipeline: FakePipeline, client: anthropic.Anthropic, site: Site
) -> None:
    pipeline.script = lambda request: [0.3, Waiting("loading"), 0.1, Waiting("loading"), *saying("Hello")]
    assert site.post(ASK, PATH).content.startswith(b" ")
    assert client.messages.create(**ASK).content[0].text == "Hello"


def test_a_late_error_ends_the_stream_and_raises_in_the_client(
    site: Site, pipeline: FakePipeline, client: anthropic.Anthropic
) -> None:
    died = errors.WorkerDied("the model's process ended")
    pipeline.script = lambda request: [Accepted("demo", 5), Chunk("Hel"), died]
    *_, last = told(site)
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
        "inputs: refused", "parameters.stop.0: bad", "parameters.top_k: bad"
    )
    message = site.post(ASK, PATH).json()["error"]["message"]
    assert message == "messages: refused; stop_sequences.0: bad; top_k: bad"


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


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_goes_ends_its_generation(site: Site, pipeline: FakePipeline, stream: bool) -> None:
    pipeline.script = lambda request: ENDLESS
    sock = site.raw({**ASK, "stream": stream}, PATH)
    assert until(lambda: bool(pipeline.generations))
    sock.close()
    assert pipeline.generations[0].ended.wait(3)
    assert pipeline.generations[0].cancelled.is_set()


def test_the_token_of_either_kind_of_client_is_taken(site: Site) -> None:
    with anthropic.Anthropic(base_url=site.url, auth_token=TOKEN, api_key=None) as client:
        assert client.messages.create(**ASK).content[0].text == "Hello there"
    body = requests.post(site.url + PATH, json={**ASK, "token": TOKEN}, timeout=10)
    assert body.status_code == 200


def test_the_asynchronous_client_does_all_of_it(site: Site, pipeline: FakePipeline) -> None:
    async def talk() -> tuple[str, list[str], int]:
        async with anthropic.AsyncAnthropic(base_url=site.url, api_key=TOKEN) as client:
            whole = await client.messages.create(**ASK)
            async with client.messages.stream(**ASK) as stream:
                pieces = [text async for text in stream.text_stream]
            counted = await client.messages.count_tokens(model="demo", messages=ASK["messages"])
            return whole.content[0].text, pieces, counted.input_tokens

    assert asyncio.run(talk()) == ("Hello there", ["Hello", " there"], 5)


def test_a_stream_is_whole_bytes_over_a_bare_socket(site: Site) -> None:
    with site.raw({**ASK, "stream": True}, PATH, head="Connection: close") as sock:
        answer = read_all(sock)
    assert b"text/event-stream" in answer
    assert (
        answer.rstrip().endswith(b"0") and b'event: message_stop\ndata: {"type":"message_stop"}\n\n' in answer
    )
