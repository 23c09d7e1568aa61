"""POST /v1/messages on a fake pipeline: what a body asks of the pipeline, and how a wrong one is refused."""

from __future__ import annotations

from typing import Any

import pytest

from api_host.generation import Message, SamplingParams, ToolCall
from api_host.web.output import forced_call_schema
from tests.fakes.pipeline import FakePipeline
from tests.web.site import Site

PATH = "/v1/messages"
HI = {"role": "user", "content": "Hi"}
WEATHER = {
    "name": "get_weather",
    "description": "The weather somewhere",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
TIME = {"name": "get_time", "input_schema": {"type": "object"}}
AS_FUNCTIONS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "The weather somewhere",
            "parameters": WEATHER["input_schema"],
        },
    },
    {
        "type": "function",
        "function": {"name": "get_time", "description": "", "parameters": {"type": "object"}},
    },
]


def body_of(*messages: Any, **more: Any) -> dict[str, Any]:
    return {"model": "demo", "max_tokens": 16, "messages": list(messages) or [HI], **more}


def refusal(site: Site, body: Any, path: str = PATH) -> str:
    response = site.post(body, path)
    assert response.status_code == 400, response.text
    error = response.json()["error"]
    assert error["type"] == "invalid_request_error"
    return str(error["message"])


def called(id: str, name: str, **arguments: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": id, "name": name, "input": arguments}


def result(id: str, content: Any, **more: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": id, "content": content, **more}


def test_a_conversation_arrives_with_its_system_text_first(site: Site, pipeline: FakePipeline) -> None:
    turns = [HI, {"role": "assistant", "content": [{"type": "text", "text": "Hello"}]}, HI]
    system = [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]
    site.post(body_of(*turns, system=system, metadata={"user_id": "7"}, service_tier="auto"), PATH)
    (asked,) = pipeline.requests
    assert asked.inputs == [
        Message("system", "Be brief."),
        Message("user", "Hi"),
        Message("assistant", "Hello"),
        Message("user", "Hi"),
    ]
    assert (asked.model, asked.continue_last, asked.tools) == ("demo", False, [])


def test_consecutive_turns_of_a_role_are_one(site: Site, pipeline: FakePipeline) -> None:
    site.post(body_of(HI, {"role": "user", "content": [{"type": "text", "text": "again"}]}), PATH)
    assert pipeline.requests[0].inputs == [Message("user", "Hi\n\nagain")]


def test_a_system_turn_may_stand_among_the_messages(site: Site, pipeline: FakePipeline) -> None:
    site.post(body_of({"role": "system", "content": "B"}, HI, system="A"), PATH)
    assert pipeline.requests[0].inputs == [Message("system", "A\n\nB"), Message("user", "Hi")]


@pytest.mark.parametrize(
    ("last", "continued"),
    [({"role": "assistant", "content": "Hel"}, True), ({"role": "assistant", "content": ""}, False)],
)
def test_a_last_turn_of_the_assistant_is_gone_on_with(
    site: Site, pipeline: FakePipeline, last: dict[str, Any], continued: bool
) -> None:
    site.post(body_of(HI, last), PATH)
    assert pipeline.requests[0].continue_last == continued
    assert len(pipeline.requests[0].inputs) == 1 + continued


def test_calls_and_their_results_become_turns_of_their_own(site: Site, pipeline: FakePipeline) -> None:
    thoughts = {"type": "thinking", "thinking": "hm", "signature": ""}
    asking = {"role": "assistant", "content": [thoughts, {"type": "text", "text": "I look."}]}
    asking["content"] += [called("toolu_1", "get_weather", city="Köln"), called("toolu_2", "get_time")]
    answers = [
        {"type": "text", "text": "Here."},
        result("toolu_1", [{"type": "text", "text": "rain"}]),
        result("toolu_2", "no clock", is_error=True),
    ]
    response = site.post(
        body_of(HI, asking, {"role": "user", "content": answers}, tools=[WEATHER, TIME]), PATH
    )
    assert response.status_code == 200, response.text
    (asked,) = pipeline.requests
    assert asked.inputs[1:] == [
        Message(
            "assistant",
            "I look.",
            [
                ToolCall("get_weather", '{"city": "Köln"}', "toolu_1"),
                ToolCall("get_time", "{}", "toolu_2"),
            ],
        ),
        Message("tool", "rain", tool_call_id="toolu_1", name="get_weather"),
        Message("tool", "Error: no clock", tool_call_id="toolu_2", name="get_time"),
        Message("user", "Here."),
    ]
    assert asked.tools == AS_FUNCTIONS
    assert asked.show_control and asked.want_prompt


def test_sampling_is_anthropics_by_default_and_takes_our_parameters_at_the_top_level(
    site: Site, pipeline: FakePipeline
) -> None:
    site.post(body_of(), PATH)
    site.post(
        body_of(
            temperature=0,
            top_k=5,
            top_p=0.5,
            stop_sequences=["END"],
            stop=["###"],
            min_p=0.1,
            seed=7,
            nonsense=1,
        ),
        PATH,
    )
    plain, set_ = (asked.sampling for asked in pipeline.requests)
    assert plain == SamplingParams(max_tokens=16, temperature=1, top_k=0, top_p=1, include_stop=True)
    assert set_ == SamplingParams(
        max_tokens=16,
        temperature=0,
        top_k=5,
        top_p=0.5,
        stop=["###", "END"],
        min_p=0.1,
        seed=7,
        include_stop=True,
    )


@pytest.mark.parametrize(
    ("thinking", "asked_for"),
    [
        ({}, False),
        ({"thinking": {"type": "disabled"}}, False),
        ({"thinking": {"type": "adaptive"}}, True),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, True),
        ({"thinking": {"type": "enabled"}, "grammar": 'root ::= "a"'}, False),
    ],
)
def test_thinking_is_the_templates_to_write(
    site: Site, pipeline: FakePipeline, thinking: dict[str, Any], asked_for: bool
) -> None:
    site.post(body_of(**thinking), PATH)
    assert pipeline.requests[0].template_values == {"enable_thinking": asked_for}


@pytest.mark.parametrize(
    ("choice", "name", "parallel"),
    [
        ({"type": "any"}, None, True),
        ({"type": "any", "disable_parallel_tool_use": True}, None, False),
        ({"type": "tool", "name": "get_time"}, "get_time", True),
    ],
)
def test_a_forced_call_is_held_to_its_form_by_a_schema(
    site: Site, pipeline: FakePipeline, choice: dict[str, Any], name: str | None, parallel: bool
) -> None:
    site.post(body_of(tools=[WEATHER, TIME], tool_choice=choice), PATH)
    assert pipeline.requests[0].sampling.json_schema == forced_call_schema(AS_FUNCTIONS, name, parallel)


def test_tools_that_may_not_be_called_are_not_shown(site: Site, pipeline: FakePipeline) -> None:
    site.post(body_of(tools=[WEATHER], tool_choice={"type": "none"}), PATH)
    site.post(body_of(tools=[WEATHER], tool_choice={"type": "auto"}), PATH)
    assert [asked.tools for asked in pipeline.requests] == [[], AS_FUNCTIONS[:1]]
    assert [asked.sampling.json_schema for asked in pipeline.requests] == [None, None]


def test_an_output_format_holds_the_text_to_its_schema(site: Site, pipeline: FakePipeline) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    site.post(
        body_of(output_config={"effort": "low", "format": {"type": "json_schema", "schema": schema}}), PATH
    )
    assert pipeline.requests[0].sampling.json_schema == schema


def test_a_model_may_be_named_in_the_houses_other_ways_too(site: Site, pipeline: FakePipeline) -> None:
    body = body_of()
    del body["model"]
    site.post(body, PATH)
    site.post({**body, "repo_id": "owner/name", "file_name": "a.gguf"}, PATH)
    assert [asked.model for asked in pipeline.requests] == [None, "owner/name/a.gguf"]


def test_counting_needs_no_bound_and_sees_the_whole_prompt(site: Site, pipeline: FakePipeline) -> None:
    body = {"model": "demo", "messages": [HI], "system": "A", "tools": [WEATHER]}
    response = site.post(body, f"{PATH}/count_tokens")
    assert response.json() == {"input_tokens": 5}
    (counted,) = pipeline.counted
    assert counted.inputs == [Message("system", "A"), Message("user", "Hi")]
    assert counted.tools == AS_FUNCTIONS[:1]


MODEL = {"role": "assistant", "content": "Hello"}
CALLING = {"role": "assistant", "content": [called("toolu_1", "get_time")]}
IMAGE = {"type": "image", "source": {"type": "url", "url": "http://x/y.png"}}


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"messages": [HI]}, "max_tokens: is missing; allowed: a whole number from 1 up to 1000000"),
        ({"max_tokens": 1}, "messages: is missing"),
        (body_of(max_tokens=0), "max_tokens: 0 is too small"),
        (body_of(messages="Hi"), 'messages: "Hi" is not a list'),
        (body_of(messages=[]), "messages: [] is too short; allowed: a list of at least 1 and at most 100000 items"),
        (body_of(7), "messages.0: 7 is not a turn"),
        (body_of({"content": "Hi"}), "messages.0.role: is missing; allowed: user, assistant, system"),
        (body_of({"role": "tool", "content": "Hi"}), 'messages.0.role: "tool" is not known'),
        (body_of({"role": "user"}), "messages.0.content: is missing; allowed: a text, or a list of blocks"),
        (body_of({"role": "user", "content": 7}), "messages.0.content: 7 is neither text nor a list"),
        (body_of({"role": "user", "content": ""}), "messages.0.content: is empty"),
        (body_of({"role": "user", "content": [7]}), "content.0: 7 is not a block; allowed: text, tool_result"),
        (body_of({"role": "user", "content": [{"text": "a"}]}), "messages.0.content.0.type: is missing"),
        (body_of({"role": "user", "content": [{"type": "text"}]}), "content.0.text: is missing; allowed: text"),
        (body_of({"role": "user", "content": [IMAGE]}), "messages.0.content.0: images cannot be read here, only text"),
        (body_of({"role": "user", "content": [{"type": "document"}]}), "content.0: documents cannot be read here"),
        (body_of({"role": "user", "content": [CALLING["content"][0]]}), '.type: "tool_use" cannot stand here'),
        (body_of(MODEL), "messages: no turn of the user comes first"),
        (body_of({"role": "system", "content": "A"}), "messages: no turn of the user comes first"),
        (body_of(HI, CALLING), "messages: the last turn calls tools"),
        (body_of(HI, {"role": "user", "content": [result("toolu_9", "")]}), 'tool_use_id: "toolu_9" answers no call'),
        (
            body_of(HI, CALLING, {"role": "user", "content": [result("toolu_1", [IMAGE])]}),
            "messages.2.content.0.content.0: images cannot be read here, only text; allowed: text",
        ),
        (body_of(HI, {"role": "assistant", "content": [{**called("a", "b"), "input": 7}]}), "input: 7 is no"),
        (body_of(system=7), "system: 7 is neither text nor a list"),
        (body_of(temperature="warm"), 'temperature: "warm" is not a number'),
        (body_of(top_p=2), "top_p: 2 is too large"),
        (body_of(min_p=2), "min_p: 2 is too large"),
        (body_of(stop_sequences=[""]), 'stop_sequences.0: "" is too short'),
        (body_of(n=2), "n: 2 is not known; allowed: 1"),
        (body_of(logprobs=1), "logprobs: a message has no place for them"),
        (body_of(stream="yes"), 'stream: "yes" is not true or false'),
        (body_of(thinking={"type": "deep"}), 'thinking.type: "deep" is not known; allowed: enabled'),
        (body_of(repo_id="owner/name"), "file_name: is missing"),
        (body_of(output_config={"format": {"type": "xml"}}), "output_config.format:"),
        (body_of(tools=[7]), "tools.0: 7 is not a tool"),
        (body_of(tools=[{"type": "web_search_20250305", "name": "web_search"}]), '"web_search_20250305" is a tool of'),
        (body_of(tools=[{"input_schema": {}}]), "tools.0.name: is missing; allowed: 1 to 128 letters"),
        (body_of(tools=[{"name": "a b", "input_schema": {}}]), 'tools.0.name: "a b" is no name'),
        (body_of(tools=[{"name": "a"}]), "tools.0.input_schema: is missing; allowed: a JSON schema"),
        (body_of(tools=[TIME, TIME]), 'tools.1.name: "get_time" names a second tool'),
        (body_of(tool_choice={"type": "any"}), "tools: is missing; tool_choice asks for a call of one"),
        (body_of(tools=[TIME], tool_choice={"type": "tool", "name": "x"}), 'name: "x" is none of the tools'),
        (body_of(tools=[TIME], tool_choice={"type": "must"}), 'tool_choice.type: "must" is not known'),
        (
            body_of(tools=[TIME], tool_choice={"type": "any"}, thinking={"type": "enabled"}),
            "thinking: tool_choice asks for a call at once",
        ),
        (
            body_of(tools=[TIME], tool_choice={"type": "any"}, grammar='root ::= "a"'),
            "grammar: grammar and tool_choice hold the text to different forms",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_place(site: Site, body: dict[str, Any], sentence: str) -> None:
    assert sentence in refusal(site, body)


def test_every_wrong_field_is_told_at_once(site: Site) -> None:
    told = refusal(site, {"max_tokens": 0, "messages": [7], "tools": [7], "top_k": -1})
    for name in ("max_tokens", "top_k", "messages.0", "tools.0"):
        assert f"{name}: " in told


def test_counting_is_as_strict_with_what_it_reads(site: Site) -> None:
    assert "messages.0: 7" in refusal(site, {"messages": [7]}, f"{PATH}/count_tokens")
