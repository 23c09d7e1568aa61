"""OpenAI's own client library and LangChain's, unchanged, against a whole host with the demo model."""

from __future__ import annotations

import asyncio
import json
import math
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import openai
import pytest
from langchain_core.exceptions import ContextOverflowError
from langchain_core.messages import HumanMessage
from langchain_openai import ChatOpenAI, OpenAI, OpenAIEmbeddings
from pydantic import BaseModel, SecretStr

from api_host.host import ApiHost
from tests.fakes.asking import capital_of, model_of, within

ITALY: Any = capital_of("Italy")
CAPITALS = {"France": "Paris", "Italy": "Rome", "Spain": "Madrid", "Germany": "Berlin"}


class Capital(BaseModel):
    """The capital of a country."""

    city: str


CAPITAL_SCHEMA = {
    "type": "object",
    "properties": {"city": {"enum": ["Paris", "Rome"]}},
    "required": ["city"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def client(demo_host: ApiHost) -> Iterator[openai.OpenAI]:
    url, token = f"{demo_host.local_url}/v1", demo_host.access_token
    with openai.OpenAI(base_url=url, api_key=token or "", max_retries=0) as client:
        yield client


@asynccontextmanager
async def async_client(host: ApiHost) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{host.local_url}/v1", api_key=host.access_token or "") as client:
        yield client


def langchain(host: ApiHost, **options: Any) -> dict[str, Any]:
    token = SecretStr(host.access_token or "")
    return {
        "model": "demo",
        "base_url": f"{host.local_url}/v1",
        "api_key": token,
        "max_retries": 0,
        **options,
    }


def test_a_chat_is_answered_plain_and_streamed_alike(client: openai.OpenAI) -> None:
    plain = client.chat.completions.create(model="demo", messages=ITALY, temperature=0)
    text = plain.choices[0].message.content
    assert text and "Rome" in text
    stream = client.chat.completions.create(
        model="demo", messages=ITALY, temperature=0, stream=True, stream_options={"include_usage": True}
    )
    *chunks, last = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == text
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert last.usage and plain.usage
    assert last.usage.completion_tokens == plain.usage.completion_tokens
    assert last.usage.prompt_tokens_details and last.usage.prompt_tokens_details.cached_tokens


def test_many_async_clients_are_answered_at_once(demo_host: ApiHost) -> None:
    async def ask(client: openai.AsyncOpenAI, country: str, stream: bool) -> str:
        messages: Any = capital_of(country)
        if not stream:
            plain = await client.chat.completions.create(model="demo", messages=messages, temperature=0)
            return plain.choices[0].message.content or ""
        text = ""
        async for chunk in await client.chat.completions.create(
            model="demo", messages=messages, temperature=0, stream=True
        ):
            text += chunk.choices[0].delta.content or ""
        return text

    async def ask_all() -> list[str]:
        async with async_client(demo_host) as client:
            asked = [ask(client, country, stream) for country in CAPITALS for stream in (False, True)]
            return await asyncio.gather(*asked)

    answers = asyncio.run(ask_all())
    for capital, answer in zip([c for c in CAPITALS.values() for _ in range(2)], answers, strict=True):
        assert capital in answer


def test_sampling_is_the_clients_own(client: openai.OpenAI) -> None:
    def ask(**options: Any) -> openai.types.chat.ChatCompletion:
        return client.chat.completions.create(model="demo", messages=ITALY, **options)

    several = ask(n=3, seed=5, max_completion_tokens=4, temperature=1.5)
    again = ask(n=3, seed=5, max_tokens=4, temperature=1.5)
    texts = [choice.message.content for choice in several.choices]
    assert texts == [choice.message.content for choice in again.choices]
    assert {choice.finish_reason for choice in several.choices} == {"length"}
    assert several.usage and several.usage.completion_tokens == 12
    assert ask(temperature=0, stop=["Rome"]).choices[0].message.content == "The capital of Italy is "
    assert ask(temperature=0, stop=" Rome").choices[0].message.content == "The capital of Italy is"
    held = ask(temperature=0, extra_body={"grammar": 'root ::= "Milan, " "perhaps."'})
    assert held.choices[0].message.content == "Milan, perhaps."
    top = ask(temperature=0, logprobs=True, top_logprobs=3).choices[0].logprobs
    assert top and top.content
    assert "".join(token.token for token in top.content) == "The capital of Italy is Rome."
    assert all(math.exp(token.logprob) > 0.5 and len(token.top_logprobs) == 3 for token in top.content)


def test_a_begun_answer_is_gone_on_with(client: openai.OpenAI) -> None:
    begun: Any = [*ITALY, {"role": "assistant", "content": "The capital of Italy"}]
    more = {"continue_final_message": True}
    answer = client.chat.completions.create(model="demo", messages=begun, temperature=0, extra_body=more)
    assert answer.choices[0].message.content == " is Rome."


def test_answers_are_held_to_a_schema(client: openai.OpenAI) -> None:
    form: Any = {"type": "json_schema", "json_schema": {"name": "capital", "schema": CAPITAL_SCHEMA}}
    held = client.chat.completions.create(model="demo", messages=ITALY, response_format=form, temperature=0)
    assert json.loads(held.choices[0].message.content or "") == {"city": "Rome"}
    stream = client.chat.completions.create(
        model="demo", messages=ITALY, response_format={"type": "json_object"}, max_tokens=8, stream=True
    )
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream).lstrip().startswith("{")


@pytest.mark.parametrize("stream", [False, True])
def test_a_forced_call_is_made_even_by_a_model_without_tools(client: openai.OpenAI, stream: bool) -> None:
    function = {"name": "tell_capital", "parameters": CAPITAL_SCHEMA}
    request: dict[str, Any] = {
        "model": "demo",
        "messages": ITALY,
        "temperature": 0,
        "tools": [{"type": "function", "function": function}],
        "tool_choice": {"type": "function", "function": {"name": "tell_capital"}},
    }
    if stream:
        calls = [
            call.function
            for chunk in client.chat.completions.create(stream=True, **request)
            for call in chunk.choices[0].delta.tool_calls or []
            if call.function
        ]
        assert calls[0].name == "tell_capital"
        arguments = "".join(call.arguments or "" for call in calls)
    else:
        (choice,) = client.chat.completions.create(**request).choices
        assert choice.finish_reason == "tool_calls" and choice.message.tool_calls
        (call,) = choice.message.tool_calls
        assert call.type == "function"
        arguments = call.function.arguments
    assert json.loads(arguments)["city"] in ("Paris", "Rome")


def test_texts_are_completed(client: openai.OpenAI) -> None:
    one = client.completions.create(model="demo", prompt="A cat sat on", temperature=0, echo=True, logprobs=2)
    (choice,) = one.choices
    assert choice.text.startswith("A cat sat on the mat") and choice.finish_reason == "length"
    assert one.usage and one.usage.completion_tokens == 16
    assert choice.logprobs and choice.logprobs.text_offset and choice.logprobs.text_offset[0] == 12
    both = client.completions.create(
        model="demo", prompt=["A cat sat on", "A cat sat on the mat"], temperature=0
    )
    assert choice.text == "A cat sat on" + both.choices[0].text
    assert [each.index for each in both.choices] == [0, 1]
    stream = client.completions.create(model="demo", prompt=["A cat sat on"] * 6, temperature=0, stream=True)
    texts = [""] * 6
    for chunk in stream:
        texts[chunk.choices[0].index] += chunk.choices[0].text
    assert set(texts) == {both.choices[0].text}
    tokens = client.completions.create(model="demo", prompt=[[5, 6], [7]], temperature=0, max_tokens=2)
    assert len(tokens.choices) == 2


def test_vectors_of_one_text_are_the_same_in_every_encoding(client: openai.OpenAI) -> None:
    coded = client.embeddings.create(model="demo", input=["A cat", "A dog"])
    plain = client.embeddings.create(model="demo", input=["A cat", "A dog"], encoding_format="float")
    assert len(coded.data) == 2
    for one, other in zip(coded.data, plain.data, strict=True):
        assert one.embedding == pytest.approx(other.embedding, abs=1e-6)
        assert math.hypot(*one.embedding) == pytest.approx(1, abs=1e-5)
    assert coded.usage.prompt_tokens == plain.usage.prompt_tokens > 0
    cut = client.embeddings.create(model="demo", input="A cat", dimensions=8)
    assert math.hypot(*cut.data[0].embedding) == pytest.approx(1, abs=1e-5)
    assert len(cut.data[0].embedding) == 8


def test_the_engines_refusals_speak_of_the_clients_fields(client: openai.OpenAI) -> None:
    long: Any = [{"role": "user", "content": "word " * 5000}]
    for stream in (False, True):
        with pytest.raises(openai.BadRequestError) as caught:
            client.chat.completions.create(model="demo", messages=long, stream=stream)
        assert (caught.value.code, caught.value.param) == ("context_length_exceeded", "messages")
        assert isinstance(caught.value.body, dict)
        assert caught.value.body["n_prompt_tokens"] > caught.value.body["n_ctx"] == 2048
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("grammar", {"extra_body": {"grammar": "root ::= ["}}),
        ("chat_format", {"extra_body": {"chat_format": "none-such"}}),
        ("logit_bias", {"logit_bias": {"99999": 1}}),
    ]
    for param, fields in wrong:
        with pytest.raises(openai.BadRequestError) as caught:
            client.chat.completions.create(model="demo", messages=ITALY, **fields)
        assert caught.value.param == param
    for fields in ({"prompt": [99999]}, {"prompt": "word " * 5000}):
        with pytest.raises(openai.BadRequestError) as caught:
            client.completions.create(model="demo", **fields)
        assert caught.value.param == "prompt"
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="gpt-4o", messages=ITALY)
    assert caught.value.param == "model"


def test_models_are_listed(client: openai.OpenAI) -> None:
    client.chat.completions.create(model="demo", messages=ITALY, max_tokens=1)
    demo: Any = next(model for model in client.models.list() if model.id == "demo")
    assert demo.status["value"] == "loaded"
    assert demo.meta["n_ctx_train"] > 0 and demo.meta["n_params"] > 1_000_000
    assert client.models.retrieve("demo") == demo


def test_a_stream_that_its_client_cuts_frees_its_slot(demo_host: ApiHost, client: openai.OpenAI) -> None:
    endless: dict[str, Any] = {"max_tokens": 100_000, "extra_body": {"ignore_eos": True}}

    def n_running() -> int:
        return int(model_of(demo_host, "demo")["n_running"])

    with client.chat.completions.create(model="demo", messages=ITALY, stream=True, **endless) as stream:
        next(iter(stream))
        assert within(1, lambda: n_running() == 1)
    assert within(1, lambda: n_running() == 0)
    prompts = ["A cat"] * 3
    body = json.dumps({"prompt": prompts, "max_tokens": 100_000, "ignore_eos": True}).encode()
    with socket.create_connection(("127.0.0.1", int(demo_host.local_url.rpartition(":")[2]))) as sock:
        head = (
            f"POST /v1/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {demo_host.access_token}\r\n"
        )
        sock.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        assert within(1, lambda: n_running() == 3)
    assert within(1, lambda: n_running() == 0)


def test_a_top_p_of_0_takes_the_likeliest_tokens(client: openai.OpenAI) -> None:
    def text(**sampling: Any) -> str:
        return client.completions.create(model="demo", prompt="x", max_tokens=20, **sampling).choices[0].text

    assert text(temperature=2, top_p=0) == text(temperature=0)


def test_langchain_chats_plain_streamed_and_async(demo_host: ApiHost) -> None:
    chat = ChatOpenAI(**langchain(demo_host, temperature=0, stream_usage=True))
    question = [HumanMessage("What is the capital of Germany?")]
    plain = chat.invoke(question)
    assert "Berlin" in plain.text and plain.response_metadata["finish_reason"] == "stop"
    assert plain.usage_metadata and plain.usage_metadata["output_tokens"] > 3
    assert "".join(chunk.text for chunk in chat.stream(question)) == plain.text

    async def ask() -> str:
        return "".join([chunk.text async for chunk in chat.astream(question)])

    assert asyncio.run(ask()) == plain.text


@pytest.mark.parametrize("responses", [False, True])
def test_langchain_knows_a_prompt_that_is_too_long(demo_host: ApiHost, responses: bool) -> None:
    chat = ChatOpenAI(**langchain(demo_host, use_responses_api=responses))
    with pytest.raises(ContextOverflowError, match="model's maximum context length is 2048 tokens"):
        chat.invoke("word " * 5000)


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_langchain_gets_structured_answers(demo_host: ApiHost, method: Any) -> None:
    chat = ChatOpenAI(**langchain(demo_host, temperature=0, max_tokens=200, seed=1, stop=["\n\n"]))
    schema = {"title": "capital", "description": "The capital of a country", **CAPITAL_SCHEMA}
    answer = chat.with_structured_output(schema, method=method).invoke("What is the capital of Italy?")
    assert isinstance(answer, dict) and answer["city"] in ("Paris", "Rome")


def test_langchain_completes_and_embeds(demo_host: ApiHost) -> None:
    llm = OpenAI(**langchain(demo_host, temperature=0, max_tokens=8))
    assert "mat" in llm.invoke("A cat sat on")
    assert len(llm.generate(["A cat sat on", "What is"]).generations) == 2
    embeddings = OpenAIEmbeddings(**langchain(demo_host, check_embedding_ctx_length=False))
    first, second = embeddings.embed_documents(["A cat", "A dog"])
    assert len(first) == len(second) > 0
    assert embeddings.embed_query("A cat") == pytest.approx(first, abs=1e-6)
