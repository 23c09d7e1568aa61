"""POST /v1/messages on a fake pipeline: events, messages and errors, bare and as the official client reads them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import anthropic
import pytest
import requests

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


def input_of(site: Site, pipeline: FakePipeline, arguments: str) -> Any:
    pipeline.script = lambda request: in_letters(f'<tool_call>{{"name": "f", "arguments": {arguments}}}')
    whole = site.post({**ASK, "tools": TOOLS}, PATH).json()["content"][0]["input"]
    streamed = told(site, tools=TOOLS)
    pieces = [event["delta"] for event in streamed if event["type"] == "content_block_delta"]
    return whole, "".join(piece["partial_json"] for piece in pieces)


def test_a_call_with_a_bare_line_break_in_a_string_keeps_it(site: Site, pipeline: FakePipeline) -> None:
    whole, streamed = input_of(site, pipeline, '{"code": "a\nb"}')
    assert whole == json.loads(streamed) == {"code": "a\nb"}


def test_half_a_character_in_a_call_is_a_replacement_character(site: Site, pipeline: FakePipeline) -> None:
    whole, streamed = input_of(site, pipeline, '{"a": "x\\ud83d", "b": "\\ud83d\\ude00"}')
    assert whole == json.loads(streamed) == {"a": "x\ufffd", "b": "\U0001f600"}


@pytest.mark.parametrize(
    "arguments",
    [
        '{"a": "x\\ud83d", "b": "\\ud83d\\ude00"}',
        '{"a": 1, "b": True, "c": 2}',
        "{\"a\": [1, 'b']}",
        f'{{"a": 1, "b": {"[" * 3000}{"]" * 3000}}}',
    ],
)
def test_the_client_reads_arguments_as_far_as_they_are_json(
    site: Site, pipeline: FakePipeline, client: anthropic.Anthropic, arguments: str
) -> None:
    call = f'<tool_call>{{"name": "f", "arguments": {arguments}}}</tool_call>'
    for steps in (saying(call), in_letters(call)):
        pipeline.script = lambda request, steps=steps: steps  # type: ignore[misc]
        whole = site.post({**ASK, "tools": TOOLS}, PATH).json()["content"][0]["input"]
        with client.messages.stream(**ASK, tools=TOOLS) as stream:
            block = stream.get_final_message().content[0]
        assert isinstance(block, anthropic.types.ToolUseBlock)
        assert block.input == whole and whole["a"]


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


def test_text_that_a_grammar_holds_is_never_reasoning(site: Site, pipeline: FakePipeline) -> None:
    pipeline.script = lambda request: saying('{"a": 1}', prompt="<|assistant|>\n<think>\n")
    message = site.post({**ASK, "json_schema": {"type": "object"}}, PATH).json()
    assert message["content"] == [{"type": "text", "text": '{"a": 1}'}]


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


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_goes_ends_its_generation(site: Site, pipeline: FakePipeline, stream: bool) -> None:
    pipeline.script = lambda request: ENDLESS
    sock = site.raw({**ASK, "stream": stream}, PATH)
    assert until(lambda: bool(pipeline.generations))
    sock.close()
    assert pipeline.generations[0].ended.wait(10)
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
