"""POST /v1/responses with the demo model and real clients: the official one, sync and async, and LangChain's."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any, Literal

import openai
import pytest
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, SecretStr

from api_host import ApiHost

QUESTION = "What is the capital of France?"
GREEDY = {"top_k": 1}


@pytest.fixture(scope="module")
def client(demo_host: ApiHost) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{demo_host.local_url}/v1", api_key=demo_host.access_token) as client:
        yield client


def test_a_question_is_answered(client: openai.OpenAI) -> None:
    response = client.responses.create(model="demo", input=QUESTION, temperature=0)
    assert "Paris" in response.output_text and response.status == "completed"
    assert response.usage is not None and response.usage.output_tokens > 0


def test_a_conversation_goes_on_from_its_own_items(client: openai.OpenAI) -> None:
    first = client.responses.create(model="demo", input=QUESTION, temperature=0)
    items: Any = [{"role": "user", "content": QUESTION}, *first.output, {"role": "user", "content": QUESTION}]
    again = client.responses.create(model="demo", input=items, temperature=0)
    assert again.usage is not None and first.usage is not None
    assert again.usage.input_tokens > 2 * first.usage.input_tokens


def test_the_stream_says_the_same_as_the_whole(client: openai.OpenAI) -> None:
    whole = client.responses.create(model="demo", input=QUESTION, extra_body=GREEDY)
    events = list(client.responses.create(model="demo", input=QUESTION, stream=True, extra_body=GREEDY))
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert len(deltas) > 1 and "".join(deltas) == whole.output_text
    assert [event.sequence_number for event in events] == list(range(len(events)))
    with client.responses.stream(model="demo", input=QUESTION, extra_body=GREEDY) as stream:
        assert stream.get_final_response().output_text == whole.output_text


def test_async_clients_are_answered_side_by_side(demo_host: ApiHost) -> None:
    async def ask() -> list[str]:
        async with openai.AsyncOpenAI(
            base_url=f"{demo_host.local_url}/v1", api_key=demo_host.access_token
        ) as client:

            async def one() -> str:
                async with client.responses.stream(model="demo", input=QUESTION, temperature=0) as stream:
                    return (await stream.get_final_response()).output_text

            return await asyncio.gather(*(one() for _ in range(3)))

    assert all("Paris" in text for text in asyncio.run(ask()))


def test_a_parsed_answer_has_its_type(client: openai.OpenAI) -> None:
    class Place(BaseModel):
        kind: Literal["city", "river"]
        large: bool

    parsed = client.responses.parse(model="demo", input=QUESTION, text_format=Place, temperature=0)
    assert isinstance(parsed.output_parsed, Place)


def test_a_forced_call_comes_in_pieces(client: openai.OpenAI) -> None:
    parameters: Any = {
        "type": "object",
        # Long enough for more than one of the frames in which pieces travel.
        "properties": {"city": {"enum": ["Paris", "Rome"]}, "why": {"type": "string", "minLength": 300}},
        "required": ["city", "why"],
    }
    events = list(
        client.responses.create(
            model="demo",
            input=QUESTION,
            tools=[{"type": "function", "name": "weather", "parameters": parameters, "strict": False}],
            tool_choice={"type": "function", "name": "weather"},
            stream=True,
            extra_body=GREEDY,
        )
    )
    pieces = [event.delta for event in events if event.type == "response.function_call_arguments.delta"]
    last = events[-1]
    assert last.type == "response.completed"
    [call] = last.response.output
    assert call.type == "function_call" and call.name == "weather"
    assert len(pieces) > 1 and "".join(pieces) == call.arguments
    assert set(json.loads(call.arguments)) == {"city", "why"}


def test_a_text_that_is_too_long_is_refused_with_figures(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model="demo", input="capital " * 100_000)
    assert caught.value.code == "context_length_exceeded" and caught.value.param == "input"
    assert isinstance(caught.value.body, dict) and caught.value.body["n_ctx"] > 0


def test_langchain_speaks_it(demo_host: ApiHost) -> None:
    model = ChatOpenAI(
        model="demo",
        base_url=f"{demo_host.local_url}/v1",
        api_key=SecretStr(demo_host.access_token or ""),
        temperature=0,
        use_responses_api=True,
    )
    assert "Paris" in model.invoke(QUESTION).text
    assert "Paris" in "".join(chunk.text for chunk in model.stream(QUESTION))


@pytest.mark.parametrize("arguments", ['{"a": "\\ud83d", "b": "\\ud83d\\ude00"}', "[" * 1200, '{"a": "cut'])
def test_a_call_may_come_back_unreadable(client: openai.OpenAI, arguments: str) -> None:
    items: Any = [
        {"role": "user", "content": QUESTION},
        {"type": "function_call", "call_id": "a", "name": "f", "arguments": arguments},
        {"type": "function_call_output", "call_id": "a", "output": "done"},
    ]
    assert client.responses.create(model="demo", input=items, max_output_tokens=16).output_text
