"""The official anthropic package against a whole host with the demo model: nothing but the address is changed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

import anthropic
import pydantic
import pytest

from api_host.host import ApiHost
from tests.fakes.asking import completion_tokens, model_of, within

pytestmark = pytest.mark.usefixtures("clean_settings")

QUESTION = {"role": "user", "content": "What is the capital of France?"}
ANSWER = "The capital of France is Paris."
GREEDY: dict[str, Any] = {"model": "demo", "max_tokens": 32, "extra_body": {"temperature": 0}}
CITY = {"type": "object", "properties": {"city": {"enum": ["Rome"]}}, "required": ["city"]}
TOOLS: list[Any] = [{"name": "get_weather", "description": "The weather of a city", "input_schema": CITY}]


@pytest.fixture(scope="module")
def client(demo_host: ApiHost) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=demo_host.local_url, api_key=demo_host.access_token) as client:
        yield client


def test_a_question_is_answered(client: anthropic.Anthropic) -> None:
    message = client.messages.create(messages=[QUESTION], **GREEDY)
    assert [block.text for block in message.content] == [ANSWER]
    assert (message.stop_reason, message.stop_sequence, message.model) == ("end_turn", None, "demo")
    counted = client.messages.count_tokens(model="demo", messages=[QUESTION])
    usage = message.usage
    assert usage.input_tokens + (usage.cache_read_input_tokens or 0) == counted.input_tokens > 5
    assert usage.output_tokens > 5


def test_a_prompt_that_is_still_in_the_cache_is_counted_apart(client: anthropic.Anthropic) -> None:
    asked = [{"role": "user", "content": "What is the capital of Portugal?"}]
    first, second = (client.messages.create(messages=asked, **GREEDY).usage for _ in range(2))
    assert second.cache_read_input_tokens is not None and first.cache_read_input_tokens is not None
    assert second.cache_read_input_tokens > first.cache_read_input_tokens
    assert second.input_tokens == 1  # the last token is always read again


def test_both_ways_of_streaming_give_the_answer(client: anthropic.Anthropic) -> None:
    with client.messages.stream(messages=[QUESTION], **GREEDY) as stream:
        pieces = list(stream.text_stream)
        message = stream.get_final_message()
    assert "".join(pieces) == message.content[0].text == ANSWER
    kinds = [event.type for event in client.messages.create(messages=[QUESTION], stream=True, **GREEDY)]
    assert (kinds[:2], kinds[-3:]) == (
        ["message_start", "content_block_start"],
        ["content_block_stop", "message_delta", "message_stop"],
    )


def test_the_asynchronous_client_gets_the_same(demo_host: ApiHost) -> None:
    async def ask() -> tuple[str, str]:
        async with anthropic.AsyncAnthropic(
            base_url=demo_host.local_url, api_key=demo_host.access_token
        ) as client:
            whole = await client.messages.create(messages=[QUESTION], **GREEDY)
            async with client.messages.stream(messages=[QUESTION], **GREEDY) as stream:
                return whole.content[0].text, await stream.get_final_text()

    assert asyncio.run(ask()) == (ANSWER, ANSWER)


def test_the_stop_sequence_that_ended_it_is_named(client: anthropic.Anthropic) -> None:
    message = client.messages.create(messages=[QUESTION], stop_sequences=["never", " is"], **GREEDY)
    assert [block.text for block in message.content] == ["The capital of France"]
    assert (message.stop_reason, message.stop_sequence) == ("stop_sequence", " is")
    cut = client.messages.create(messages=[QUESTION], **{**GREEDY, "max_tokens": 2})
    assert (cut.stop_reason, cut.stop_sequence, cut.usage.output_tokens) == ("max_tokens", None, 2)


def test_an_answer_that_was_begun_is_gone_on_with(client: anthropic.Anthropic) -> None:
    begun = {"role": "assistant", "content": "The capital of"}
    message = client.messages.create(messages=[QUESTION, begun], **GREEDY)
    assert message.content[0].text == " France is Paris."


def test_a_loop_of_calls_and_results_comes_to_an_answer(client: anthropic.Anthropic) -> None:
    forced: Any = {"type": "tool", "name": "get_weather", "disable_parallel_tool_use": True}
    asked: list[Any] = [QUESTION]
    ask = {**GREEDY, "max_tokens": 200, "tools": TOOLS}
    calling = client.messages.create(messages=asked, tool_choice=forced, **ask)
    assert calling.stop_reason == "tool_use"
    (call,) = calling.content
    assert (call.name, call.input) == ("get_weather", {"city": "Rome"})
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "sunny"}
    asked += [{"role": "assistant", "content": calling.content}, {"role": "user", "content": [result]}]
    after = client.messages.create(messages=asked, **ask)
    assert after.usage.input_tokens + (after.usage.cache_read_input_tokens or 0) > calling.usage.input_tokens
    with client.messages.stream(messages=[QUESTION], tool_choice=forced, **ask) as stream:
        streamed = stream.get_final_message()
    assert streamed.content[0].input == {"city": "Rome"}


def test_a_text_is_held_to_the_schema_of_a_pydantic_model(client: anthropic.Anthropic) -> None:
    class Answer(pydantic.BaseModel):
        capital: bool

    parsed = client.messages.parse(messages=[QUESTION], output_format=Answer, **GREEDY)
    assert isinstance(parsed.parsed_output, Answer)


def test_wrong_requests_raise_the_clients_own_errors(demo_host: ApiHost, client: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.BadRequestError, match="prompt is too long"):
        client.messages.create(messages=[{"role": "user", "content": "word " * 5000}], **GREEDY)
    with pytest.raises(anthropic.NotFoundError):
        client.messages.batches.retrieve("none")
    with (
        anthropic.Anthropic(base_url=demo_host.local_url, api_key="wrong") as stranger,
        pytest.raises(anthropic.AuthenticationError),
    ):
        stranger.messages.create(messages=[QUESTION], **GREEDY)


def test_a_stream_that_the_client_cuts_frees_its_slot(
    demo_host: ApiHost, client: anthropic.Anthropic
) -> None:
    client.messages.create(messages=[QUESTION], **GREEDY)
    finished = completion_tokens(demo_host)
    endless = {"temperature": 0, "ignore_eos": True}
    with contextlib.closing(
        client.messages.create(
            messages=[QUESTION], model="demo", max_tokens=100_000, stream=True, extra_body=endless
        )
    ) as stream:
        next(iter(stream))
        assert within(5, lambda: model_of(demo_host, "demo")["n_running"] == 1)
    assert within(1, lambda: model_of(demo_host, "demo")["n_running"] == 0)
    assert completion_tokens(demo_host) == finished


def test_text_in_a_form_of_its_own_is_no_call(client: anthropic.Anthropic) -> None:
    shape = {"name": {"const": "Rome"}, "parameters": {"const": {}}}
    schema = {"type": "object", "properties": shape, "required": list(shape), "additionalProperties": False}
    held: Any = {"output_config": {"format": {"type": "json_schema", "schema": schema}}, "tools": TOOLS}
    message = client.messages.create(messages=[QUESTION], **GREEDY, **held)
    assert [block.type for block in message.content] == ["text"]
    assert message.stop_reason == "end_turn"
