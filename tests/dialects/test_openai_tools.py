"""Tools and reasoning in /v1/chat/completions: what the model is shown, and what its text becomes."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from api_host.generation import Accepted, Chunk, Finished, Message, Timings, TokenLogprob, ToolCall, Usage
from api_host.web.dialects.openai.chat_answer import ChatAnswer
from api_host.web.output import OutputParser, forced_call_schema
from tests.fakes.pipeline import FakePipeline, Step, answer
from tests.web.site import TOKEN, Site

CHAT = "/v1/chat/completions"
HI: Any = [{"role": "user", "content": "What is the weather in Paris?"}]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather somewhere",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
TIME: Any = {"type": "function", "function": {"name": "get_time"}}
CALL = ['<tool_call>\n{"name": "get_', 'weather", "arguments": {"ci', 'ty": "Paris"}}', "\n</tool_call>"]
SECOND = ['\n<tool_call>\n{"name": "get_time", "arguments": {}}\n</tool_call>']


def says(pipeline: FakePipeline, *texts: str) -> None:
    pipeline.script = lambda request: answer(*texts)


def test_a_plain_answer_holds_the_call(openai_client: openai.OpenAI, pipeline: FakePipeline) -> None:
    says(pipeline, *CALL)
    answered = openai_client.chat.completions.create(model="demo", messages=HI, tools=[WEATHER])
    (choice,) = answered.choices
    assert (choice.message.content, choice.finish_reason) == (None, "tool_calls")
    assert choice.message.tool_calls
    (call,) = choice.message.tool_calls
    assert call.type == "function" and call.id.startswith("call_")
    assert call.function.name == "get_weather"
    assert json.loads(call.function.arguments) == {"city": "Paris"}
    (asked,) = pipeline.requests
    assert (asked.tools, asked.show_control, asked.sampling.json_schema) == ([WEATHER], True, None)


def test_a_stream_tells_the_name_first_and_the_arguments_in_pieces(
    openai_client: openai.OpenAI, pipeline: FakePipeline
) -> None:
    says(pipeline, "Let me see. ", *CALL, *SECOND)
    stream = openai_client.chat.completions.create(
        model="demo", messages=HI, tools=[WEATHER, TIME], stream=True
    )
    choices = [chunk.choices[0] for chunk in stream]
    text = "".join(choice.delta.content or "" for choice in choices)
    pieces = [piece for choice in choices for piece in choice.delta.tool_calls or []]
    assert text.strip() == "Let me see."
    assert choices[-1].finish_reason == "tool_calls"
    named = [piece for piece in pieces if piece.function and piece.function.name]
    assert [(piece.index, piece.function.name, piece.type) for piece in named if piece.function] == [
        (0, "get_weather", "function"),
        (1, "get_time", "function"),
    ]
    assert len({piece.id for piece in named}) == 2
    arguments = [piece.function.arguments for piece in pieces if piece.index == 0 and piece.function]
    assert len([part for part in arguments if part]) >= 2
    assert json.loads("".join(part or "" for part in arguments)) == {"city": "Paris"}


def test_without_parallel_calls_the_first_one_counts(
    openai_client: openai.OpenAI, pipeline: FakePipeline
) -> None:
    says(pipeline, *CALL, *SECOND)
    answered = openai_client.chat.completions.create(
        model="demo", messages=HI, tools=[WEATHER, TIME], parallel_tool_calls=False
    )
    calls = answered.choices[0].message.tool_calls or []
    assert [call.function.name for call in calls if call.type == "function"] == ["get_weather"]


@pytest.mark.parametrize(
    ("choice", "parallel", "name", "several"),
    [
        ("required", None, None, True),
        ("required", False, None, False),
        ({"type": "function", "function": {"name": "get_weather"}}, None, "get_weather", False),
    ],
)
def test_a_forced_call_is_held_to_its_form(
    openai_client: openai.OpenAI,
    pipeline: FakePipeline,
    choice: Any,
    parallel: Any,
    name: str | None,
    several: bool,
) -> None:
    form = '{"name": "get_weather", "arguments": {"city": "Paris"}}'
    says(pipeline, *(f"[{form}]" if several else form))
    asked = {} if parallel is None else {"parallel_tool_calls": parallel}
    stream = openai_client.chat.completions.create(
        model="demo", messages=HI, tools=[WEATHER, TIME], tool_choice=choice, stream=True, **asked
    )
    choices = [chunk.choices[0] for chunk in stream]
    pieces = [
        piece.function for choice in choices for piece in choice.delta.tool_calls or [] if piece.function
    ]
    assert pieces[0].name == "get_weather"
    assert json.loads("".join(piece.arguments or "" for piece in pieces)) == {"city": "Paris"}
    assert "".join(choice.delta.content or "" for choice in choices) == ""
    assert choices[-1].finish_reason == "tool_calls"
    shown = [
        WEATHER,
        {
            "type": "function",
            "function": {**TIME["function"], "parameters": {"type": "object", "properties": {}}},
        },
    ]
    assert pipeline.requests[0].tools == shown
    assert pipeline.requests[0].sampling.json_schema == forced_call_schema(shown, name, several)


def test_with_tool_choice_none_no_tool_is_shown_and_text_stays_text(
    openai_client: openai.OpenAI, pipeline: FakePipeline
) -> None:
    says(pipeline, *CALL)
    answered = openai_client.chat.completions.create(
        model="demo", messages=HI, tools=[WEATHER], tool_choice="none"
    )
    assert answered.choices[0].message.content == "".join(CALL)
    assert answered.choices[0].finish_reason == "stop"
    assert (pipeline.requests[0].tools, pipeline.requests[0].show_control) == ([], False)


def test_reasoning_is_told_apart_and_counted(openai_client: openai.OpenAI, pipeline: FakePipeline) -> None:
    says(pipeline, "<think>", "Paris", " is it", "</think>", "Paris.")
    answered = openai_client.chat.completions.create(model="demo", messages=HI)
    message = answered.choices[0].message
    assert message.content == "Paris."
    assert message.model_extra and message.model_extra["reasoning_content"] == "Paris is it"
    assert answered.usage and answered.usage.completion_tokens_details
    assert 2 <= (answered.usage.completion_tokens_details.reasoning_tokens or 0) <= 4
    deltas = [
        chunk.choices[0].delta
        for chunk in openai_client.chat.completions.create(model="demo", messages=HI, stream=True)
    ]
    assert "".join(delta.content or "" for delta in deltas) == "Paris."
    reasoning = [(delta.model_extra or {}).get("reasoning_content", "") for delta in deltas]
    assert "".join(reasoning) == "Paris is it"


def test_reasoning_that_the_template_has_opened_is_known(
    openai_client: openai.OpenAI, pipeline: FakePipeline
) -> None:
    steps: list[Step] = [Accepted("demo", 1, "<|user|>Hi<|assistant|><think>\n"), Chunk("Hm", n_tokens=1)]
    steps += [Chunk("</think>\n\nYes", n_tokens=2, finish_reason="stop"), Finished(Usage(), Timings())]
    pipeline.script = lambda request: steps
    message = openai_client.chat.completions.create(model="demo", messages=HI).choices[0].message
    assert (message.content, (message.model_extra or {}).get("reasoning_content")) == ("Yes", "Hm")
    assert pipeline.requests[0].want_prompt
    held = [steps[0], Chunk('{"a": 1}', finish_reason="stop"), Finished(Usage(), Timings())]
    pipeline.script = lambda request: held
    form: Any = {"type": "json_object"}
    message = (
        openai_client.chat.completions.create(model="demo", messages=HI, response_format=form)
        .choices[0]
        .message
    )
    assert message.content == '{"a": 1}'


def test_logprobs_of_text_that_is_held_back_come_with_it(site: Site, pipeline: FakePipeline) -> None:
    words = ["<th", "e answer"]
    chunks = [Chunk(word, 0, 1, None, [TokenLogprob(word, -0.25)]) for word in words]
    pipeline.script = lambda request: [
        Accepted("demo", 1),
        *chunks,
        Chunk("", finish_reason="stop"),
        Finished(Usage(), Timings()),
    ]
    choice = site.post({"messages": HI, "logprobs": True}, CHAT).json()["choices"][0]
    assert choice["message"]["content"] == "<the answer"
    assert [token["token"] for token in choice["logprobs"]["content"]] == words


@tool
def get_weather(city: str) -> str:
    """The weather somewhere."""
    return f"It is sunny in {city}."


def test_langchain_calls_a_tool_and_sends_its_answer_back(site: Site, pipeline: FakePipeline) -> None:
    chat = ChatOpenAI(
        model="demo", base_url=f"{site.url}/v1", api_key=SecretStr(TOKEN), max_retries=0, stream_usage=True
    ).bind_tools([get_weather])
    says(pipeline, *CALL)
    question = HumanMessage("What is the weather in Paris?")
    called = chat.invoke([question])
    (call,) = called.tool_calls
    assert (call["name"], call["args"]) == ("get_weather", {"city": "Paris"})
    result = get_weather.invoke(call)
    assert isinstance(result, ToolMessage)
    says(pipeline, "It is ", "sunny.")
    merged = None
    for chunk in chat.stream([question, called, result]):
        merged = chunk if merged is None else merged + chunk
    assert merged is not None and merged.text == "It is sunny."
    assert merged.usage_metadata and merged.usage_metadata["input_tokens"] == 5
    history = pipeline.requests[-1].inputs
    assert isinstance(history, list)
    assert history[1].tool_calls == [ToolCall("get_weather", '{"city": "Paris"}', str(call["id"]))]
    assert history[2] == Message("tool", "It is sunny in Paris.", tool_call_id=call["id"], name="get_weather")


def test_a_call_with_a_bare_line_break_is_json_and_may_come_back_in_either_form(
    site: Site, openai_client: openai.OpenAI, pipeline: FakePipeline
) -> None:
    says(pipeline, '<tool_call>{"name": "get_weather", "arguments": {"city": "Pa\nris"}}</tool_call>')
    answered = openai_client.chat.completions.create(model="demo", messages=HI, tools=[WEATHER])
    assert answered.choices[0].message.tool_calls
    (call,) = answered.choices[0].message.tool_calls
    assert call.type == "function"
    assert json.loads(call.function.arguments) == {"city": "Pa\nris"}
    for arguments in (call.function.arguments, '{"city": "Pa\nris"}'):
        function = {"name": "get_weather", "arguments": arguments}
        turn = {"role": "assistant", "tool_calls": [{"id": "a", "type": "function", "function": function}]}
        result = {"role": "tool", "tool_call_id": "a", "content": "sunny"}
        assert site.post({"model": "demo", "messages": [*HI, turn, result]}, CHAT).status_code == 200


def test_half_a_character_in_a_call_that_comes_back_is_a_replacement_character(
    site: Site, pipeline: FakePipeline
) -> None:
    arguments = '{"a": "\\ud83d", "b": "\\uD83D\\uDE00", "c": "\\\\ud83d"}'
    mended = '{"a": "\\ufffd", "b": "\\uD83D\\uDE00", "c": "\\\\ud83d"}'
    function = {"name": "f", "arguments": arguments}
    turn = {"role": "assistant", "tool_calls": [{"id": "a", "type": "function", "function": function}]}
    assert site.post({"model": "demo", "messages": [*HI, turn]}, CHAT).status_code == 200
    items = [*HI, {"type": "function_call", "call_id": "a", **function}]
    assert site.post({"model": "demo", "input": items}, "/v1/responses").status_code == 200
    for request in pipeline.requests:
        assert isinstance(request.inputs, list)
        assert [call.arguments for call in request.inputs[-1].tool_calls] == [mended]


def test_reasoning_is_counted_the_same_when_all_of_an_answer_comes_at_once() -> None:
    """As it does from the response cache."""
    words = ["<think>", "I ", "think", "</think>", "It ", "is ", "Paris", "."]

    def counted(*chunks: Chunk) -> int:
        answer = ChatAnswer(1, lambda prompt: OutputParser(tools=False, reasoning=True, prompt=prompt))
        answer.take(Accepted("m", 3, "Hello"))
        for chunk in chunks:
            answer.take(chunk)
        (body,) = answer.take(Finished(Usage(3, len(words)), Timings()))
        return int(body["usage"]["completion_tokens_details"]["reasoning_tokens"])

    apart = [Chunk(word, n_tokens=1, finish_reason="stop" if word == "." else None) for word in words]
    together = Chunk("".join(words), n_tokens=len(words), finish_reason="stop")
    assert abs(counted(*apart) - counted(together)) <= 1
