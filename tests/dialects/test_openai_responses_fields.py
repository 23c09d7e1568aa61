"""POST /v1/responses on a fake pipeline: what its fields ask for, and which are refused."""

from __future__ import annotations

from typing import Any

import pytest

from api_host import errors
from api_host.generation import GenerationRequest, LoadOptions, Message, SamplingParams, ToolCall
from tests.dialects.responses_asked import PARIS, PATH, TIME, WEATHER, plays
from tests.web.site import Site


def asked_by(site: Site, **fields: Any) -> GenerationRequest:
    """What a body with these fields asks of the pipeline."""
    response = site.post({"input": "Hi", **fields}, PATH)
    assert response.status_code == 200, response.text
    return site.pipeline.requests[-1]


def message_of(site: Site, **fields: Any) -> str:
    """The sentence with which a body is refused."""
    response = site.post({"input": "Hi", **fields}, PATH)
    assert response.status_code == 400, response.text
    error = response.json()["error"]
    assert error["type"] == "invalid_request_error"
    return str(error["message"])


def test_what_is_left_out_takes_openais_defaults(site: Site) -> None:
    asked = asked_by(site, temperature=None, tools=None, store=True, truncation="auto", user="me")
    assert asked.sampling == SamplingParams(max_tokens=1_000_000, temperature=1.0, top_p=1.0, top_k=0)
    assert (asked.model, asked.chat_format, asked.tools, asked.options) == (None, None, [], LoadOptions())
    assert asked.inputs == [Message("user", "Hi")]


def test_sampling_fields_arrive(site: Site) -> None:
    asked = asked_by(
        site, max_output_tokens=7, temperature=0.5, top_p=0.25, top_logprobs=3, top_k=4, seed=3, model="a/b"
    )
    assert asked.sampling == SamplingParams(
        max_tokens=7, temperature=0.5, top_p=0.25, logprobs=3, top_k=4, seed=3
    )
    assert asked.model == "a/b"
    assert asked_by(site, include=["message.output_text.logprobs"]).sampling.logprobs == 0


def test_items_become_a_chat(site: Site) -> None:
    items = [
        {"role": "developer", "content": "Be kind."},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Weather?"}]},
        {"type": "reasoning", "id": "rs_1", "summary": []},
        {"role": "assistant", "content": [{"type": "output_text", "text": "I look."}], "id": "msg_1"},
        {"type": "function_call", "call_id": "a", "name": "get_weather", "arguments": PARIS},
        {"type": "function_call", "call_id": "b", "name": "get_time", "arguments": ""},
        {"type": "function_call_output", "call_id": "b", "output": "noon"},
        {"type": "function_call_output", "call_id": "a", "output": [{"type": "input_text", "text": "sun"}]},
        {"role": "user", "content": "And?"},
    ]
    calls = [ToolCall("get_weather", PARIS, "a"), ToolCall("get_time", "{}", "b")]
    assert asked_by(site, instructions="Be brief.", input=items).inputs == [
        Message("system", "Be brief.\n\nBe kind."),
        Message("user", "Weather?"),
        Message("assistant", "I look.", calls),
        Message("tool", "noon", tool_call_id="b", name="get_time"),
        Message("tool", "sun", tool_call_id="a", name="get_weather"),
        Message("user", "And?"),
    ]


def test_tools_are_described_as_a_template_takes_them(site: Site) -> None:
    asked = asked_by(site, tools=[WEATHER, TIME])
    weather, time = (tool["function"] for tool in asked.tools)
    assert weather == {name: WEATHER[name] for name in ("name", "description", "parameters")}
    assert time["name"] == "get_time"
    assert asked.show_control and asked.sampling.json_schema is None
    assert asked_by(site, tools=[WEATHER], tool_choice="none").tools == []


@pytest.mark.parametrize(
    ("choice", "names", "is_list"),
    [
        ("required", {"get_weather", "get_time"}, True),
        ({"type": "function", "name": "get_time"}, {"get_time"}, False),
        (
            {
                "type": "allowed_tools",
                "mode": "required",
                "tools": [{"type": "function", "name": "get_weather"}],
            },
            {"get_weather"},
            True,
        ),
    ],
)
def test_a_forced_call_is_held_to_its_form(site: Site, choice: Any, names: set[str], is_list: bool) -> None:
    schema = asked_by(site, tools=[WEATHER, TIME], tool_choice=choice).sampling.json_schema
    assert schema is not None
    assert (schema["type"] == "array") == is_list
    calls = schema["items"] if is_list else schema
    found = {one["properties"]["name"]["const"] for one in calls.get("anyOf", [calls])}
    assert found == names


def test_only_allowed_tools_are_shown(site: Site) -> None:
    allowed = {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "get_time"}]}
    asked = asked_by(site, tools=[WEATHER, TIME], tool_choice=allowed)
    assert [tool["function"]["name"] for tool in asked.tools] == ["get_time"]
    assert asked.sampling.json_schema is None


def test_the_form_of_the_text_is_held_by_a_schema(site: Site) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    form = {"type": "json_schema", "name": "it", "strict": True, "schema": schema}
    assert asked_by(site, text={"format": form}).sampling.json_schema == schema
    assert asked_by(site, text={"format": {"type": "json_object"}}).sampling.json_schema == {"type": "object"}
    assert asked_by(site, text={"format": {"type": "text"}}).sampling.json_schema is None


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"input": None}, "input: is missing; allowed: text, or a list of items"),
        ({"input": ""}, "input: is empty"),
        ({"input": 5}, "input: 5 is neither text nor a list"),
        ({"input": ["a"]}, 'input.0: "a" is no item'),
        (
            {"input": [{"role": "robot", "content": "a"}]},
            'input.0.role: "robot" is not known; allowed: system',
        ),
        (
            {"input": [{"role": "user"}]},
            "input.0.content: is missing; allowed: text, or a list of text parts",
        ),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input.0.content.0.type: "),
        (
            {"input": [{"role": "user", "content": [{"type": "input_text"}]}]},
            "input.0.content.0.text: is missing",
        ),
        (
            {"input": [{"type": "item_reference", "id": "x"}]},
            "input.0: refers to an item, but this host keeps",
        ),
        (
            {"input": [{"type": "computer_call"}]},
            'input.0.type: "computer_call" is not known; allowed: message',
        ),
        (
            {"input": [{"type": "function_call", "call_id": "a", "name": "f"}]},
            "input.0.arguments: is missing",
        ),
        ({"input": [{"type": "function_call_output", "output": "a"}]}, "input.0.call_id: is missing"),
        (
            {"previous_response_id": "resp_1"},
            "previous_response_id: this host keeps nothing between requests",
        ),
        ({"conversation": "conv_1"}, "conversation: this host keeps nothing"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt: this host keeps nothing"),
        ({"background": True}, "background: this host keeps nothing between requests; allowed: false"),
        (
            {"response_format": {"type": "text"}},
            "response_format: has another place here; allowed: text.format",
        ),
        ({"n": 2}, "n: a response has one answer; allowed: 1"),
        ({"max_output_tokens": 0}, "max_output_tokens: 0 is too small; allowed: a whole number from 1"),
        (
            {"tools": [{"type": "web_search", "name": "x"}]},
            'tools.0.type: "web_search" is not known; allowed',
        ),
        ({"tool_choice": "required"}, "tool_choice: there are no tools to choose from"),
        ({"tool_choice": "perhaps", "tools": [TIME]}, 'tool_choice: "perhaps" is not known'),
        ({"tool_choice": {"type": "allowed_tools"}, "tools": [TIME]}, "tool_choice: {"),
        (
            {"tool_choice": {"type": "function", "name": "fly"}, "tools": [TIME]},
            'tool_choice: there is no tool "fly"; allowed: get_time',
        ),
        ({"text": {"format": {"type": "json_schema", "name": "a"}}}, "text.format.schema: is missing"),
        (
            {"text": {"format": {"type": "json_object"}}, "tools": [TIME]},
            "text.format: an answer held to a form cannot call tools",
        ),
        (
            {"text": {"format": {"type": "json_object"}}, "grammar": 'root ::= "a"'},
            "text.format: the answer is held to grammar already",
        ),
    ],
)
def test_what_is_wrong_is_told(site: Site, fields: dict[str, Any], sentence: str) -> None:
    assert sentence in message_of(site, **fields)


def test_a_body_without_input_is_refused(site: Site) -> None:
    response = site.post({}, PATH)
    assert response.status_code == 400
    assert response.json()["error"]["message"].startswith("input: is missing")
    assert response.json()["error"]["param"] == "input"


def test_what_the_engine_refuses_is_told_in_the_clients_words(site: Site) -> None:
    plays(site, errors.InvalidRequest("parameters.json_schema: it cannot be turned into a grammar (x)"))
    assert message_of(site).startswith("text.format.schema: it cannot")
