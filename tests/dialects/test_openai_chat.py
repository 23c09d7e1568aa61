"""POST /v1/chat/completions on a fake pipeline: what is asked, what is told, and how the official client reads it."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from api_host.generation import (
    Accepted,
    Chunk,
    Finished,
    GenerationRequest,
    LoadOptions,
    Message,
    SamplingParams,
    Timings,
    TokenLogprob,
    ToolCall,
    Usage,
)
from tests.dialects.openai_stream import stream_of
from tests.fakes.pipeline import FakePipeline, Step
from tests.web.site import Site

CHAT = "/v1/chat/completions"
HI = [{"role": "user", "content": "Hi"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather somewhere",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
TIME = {"type": "function", "function": {"name": "get_time"}}


def asked_by(site: Site, **fields: Any) -> GenerationRequest:
    """What a body with these fields asks of the pipeline."""
    response = site.post({"messages": HI, **fields}, CHAT)
    assert response.status_code == 200, response.text
    return site.pipeline.requests[-1]


def test_what_is_left_out_takes_openais_defaults(site: Site) -> None:
    asked = asked_by(
        site, temperature=None, stop=None, n=None, tools=None, user="me", store=True, metadata={}
    )
    assert asked.sampling == SamplingParams(max_tokens=1_000_000, temperature=1.0, top_p=1.0, top_k=0)
    assert (asked.model, asked.chat_format, asked.tools, asked.options) == (None, None, [], LoadOptions())
    assert asked.inputs == [Message("user", "Hi")]


def test_every_field_reaches_the_pipeline(site: Site) -> None:
    extra = {"top_k": 5, "min_p": 0.1, "typical_p": 0.9, "repeat_penalty": 1.1, "repeat_last_n": 32}
    extra |= {"mirostat": 2, "mirostat_tau": 4.0, "mirostat_eta": 0.2, "ignore_eos": True, "min_tokens": 2}
    asked = asked_by(
        site,
        model="owner/name:Q4_K_M",
        temperature=0,
        top_p=0.5,
        n=2,
        stop="#",
        seed=7,
        max_completion_tokens=9,
        frequency_penalty=0.5,
        presence_penalty=-0.5,
        logit_bias={"15": -100},
        logprobs=True,
        top_logprobs=3,
        options={"ctx_length": 128, "use_gpu": False},
        chat_format="chatml",
        chat_template_kwargs={"enable_thinking": False},
        **extra,
    )
    assert asked.sampling == SamplingParams(
        max_tokens=9,
        temperature=0.0,
        top_p=0.5,
        n=2,
        stop=["#"],
        seed=7,
        frequency_penalty=0.5,
        presence_penalty=-0.5,
        logit_bias={15: -100.0},
        logprobs=3,
        **extra,  # type: ignore[arg-type]
    )
    assert (asked.model, asked.chat_format) == ("owner/name:Q4_K_M", "chatml")
    assert asked.options == LoadOptions(ctx_length=128, use_gpu=False)
    assert asked.template_values == {"enable_thinking": False}


@pytest.mark.parametrize(
    ("given", "kept"), [(2**32 - 1, 0), (2**63 - 1, (2**63 - 1) % (2**32 - 1)), (0, 0), (None, None)]
)
def test_seeds_of_64_bits_are_taken(site: Site, given: int | None, kept: int | None) -> None:
    assert asked_by(site, seed=given).sampling.seed == kept


def test_a_seed_of_minus_one_is_a_fresh_one_whatever_the_hosts_is(site: Site) -> None:
    drawn = {asked_by(site, seed=-1).sampling.seed for _ in range(3)}
    assert None not in drawn and len(drawn) == 3


@pytest.mark.parametrize(
    ("form", "schema"),
    [
        ({"type": "text"}, None),
        ({"type": "json_object"}, {"type": "object"}),
        (
            {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "array"}}},
            {"type": "array"},
        ),
    ],
)
def test_a_response_format_becomes_a_schema(site: Site, form: Any, schema: Any) -> None:
    assert asked_by(site, response_format=form).sampling.json_schema == schema


def test_a_history_with_parts_calls_and_their_answers_is_read(site: Site) -> None:
    call = {
        "id": "c1",
        "type": "function",
        "function": {"name": "get_weather", "arguments": '{"city": "Rome"}'},
    }
    turns = [
        {"role": "developer", "content": "Be short."},
        {"role": "user", "content": [{"type": "text", "text": "One"}, {"type": "text", "text": "Two"}]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
        {"role": "user", "content": "", "name": "ann"},
    ]
    assert asked_by(site, messages=turns).inputs == [
        Message("system", "Be short."),
        Message("user", "One\nTwo"),
        Message("assistant", "", tool_calls=[ToolCall("get_weather", '{"city": "Rome"}', "c1")]),
        Message("tool", "sunny", tool_call_id="c1", name="get_weather"),
        Message("assistant", "No."),
        Message("user", "", name="ann"),
    ]


def test_the_last_answer_can_be_gone_on_with(site: Site) -> None:
    turns = [*HI, {"role": "assistant", "content": "Well,"}]
    assert asked_by(site, messages=turns, continue_final_message=True).continue_last
    assert not asked_by(site, messages=turns).continue_last


def test_a_plain_answer_is_what_the_client_library_reads(openai_client: openai.OpenAI, site: Site) -> None:
    answered = openai_client.chat.completions.create(model="demo", messages=HI)  # type: ignore[arg-type]
    assert answered.id.startswith("chatcmpl-")
    assert (answered.object, answered.model) == ("chat.completion", "demo")
    (choice,) = answered.choices
    assert (choice.message.role, choice.message.content, choice.finish_reason) == (
        "assistant",
        "Hello there",
        "stop",
    )
    assert choice.message.tool_calls is None and choice.logprobs is None
    usage = answered.usage
    assert usage and (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (5, 2, 7)
    assert usage.prompt_tokens_details and usage.prompt_tokens_details.cached_tokens == 2


def test_a_stream_has_its_role_first_and_its_reason_last(site: Site) -> None:
    response = site.post({"messages": HI, "stream": True}, CHAT)
    assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    *bodies, end = stream_of(response.content)
    assert end == "[DONE]"
    choices = [body["choices"][0] for body in bodies]
    assert [choice["delta"] for choice in choices] == [
        {"role": "assistant", "content": ""},
        {"content": "Hello"},
        {"content": " there"},
        {},
    ]
    assert [choice["finish_reason"] for choice in choices] == [None, None, None, "stop"]
    assert {(body["object"], body["model"]) for body in bodies} == {("chat.completion.chunk", "demo")}
    assert len({body["id"] for body in bodies}) == 1
    assert all("usage" not in body for body in bodies)


def test_usage_comes_as_an_event_of_its_own_when_asked_for(site: Site) -> None:
    body = {"messages": HI, "stream": True, "stream_options": {"include_usage": True}}
    *bodies, last, end = stream_of(site.post(body, CHAT).content)
    assert end == "[DONE]"
    assert (last["choices"], last["usage"]["total_tokens"]) == ([], 7)
    assert all(body["usage"] is None for body in bodies)


def test_several_choices_are_told_apart(
    openai_client: openai.OpenAI, site: Site, pipeline: FakePipeline
) -> None:
    pipeline.script = lambda request: [
        Accepted("demo", 1),
        Chunk("b", index=1),
        Chunk("a", index=0),
        Chunk("B", index=1, finish_reason="length"),
        Chunk("", index=0, finish_reason="stop"),
        Finished(Usage(), Timings()),
    ]
    plain = openai_client.chat.completions.create(model="demo", messages=HI, n=2)  # type: ignore[arg-type]
    assert [(c.index, c.message.content, c.finish_reason) for c in plain.choices] == [
        (0, "a", "stop"),
        (1, "bB", "length"),
    ]
    texts = {0: "", 1: ""}
    for chunk in openai_client.chat.completions.create(model="demo", messages=HI, n=2, stream=True):  # type: ignore[arg-type]
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
    assert texts == {0: "a", 1: "bB"}


def test_logprobs_have_bytes_and_the_likeliest_beside_them(
    openai_client: openai.OpenAI, pipeline: FakePipeline
) -> None:
    top = [TokenLogprob("é", -0.5), TokenLogprob("x", float("-inf"))]
    steps: list[Step] = [Accepted("demo", 1), Chunk("é", 0, 1, "stop", [TokenLogprob("é", -0.5, top)])]
    pipeline.script = lambda request: [*steps, Finished(Usage(), Timings())]
    plain = openai_client.chat.completions.create(model="demo", messages=HI, logprobs=True, top_logprobs=2)  # type: ignore[arg-type]
    logprobs = plain.choices[0].logprobs
    assert logprobs and logprobs.content
    (token,) = logprobs.content
    assert (token.token, token.bytes, token.logprob) == ("é", [0xC3, 0xA9], -0.5)
    assert [(other.token, other.logprob) for other in token.top_logprobs] == [("é", -0.5), ("x", -9999.0)]
