"""POST /v1/chat/completions: every wrong field is told, as the client called it."""

from __future__ import annotations

from typing import Any

import pytest

from api_host import errors
from tests.fakes.pipeline import FakePipeline
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
CALLING = {
    "role": "assistant",
    "tool_calls": [{"id": "a", "function": {"name": "get_time", "arguments": ""}}],
}


def problem(site: Site, **fields: Any) -> dict[str, Any]:
    """The error object with which a body is refused."""
    response = site.post({"messages": HI, **fields}, CHAT)
    assert response.status_code == 400, response.text
    error = response.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert isinstance(error, dict)
    return error


@pytest.mark.parametrize(
    ("fields", "param", "words"),
    [
        ({"messages": []}, "messages", "at least 1"),
        ({"messages": "Hi"}, "messages", "not a list"),
        ({"messages": [{"role": "user"}]}, "messages.0.content", "is missing"),
        ({"messages": [{"role": "bot", "content": "x"}]}, "messages.0.role", "system, developer, user"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
            "messages.0.content.0.type",
            '"image_url" cannot be read',
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
            "messages.0.content.0.text",
            "is missing",
        ),
        ({"messages": [{"role": "user", "content": ["x"]}]}, "messages.0.content.0", "is not a part"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0.tool_call_id", "is missing"),
        (
            {"messages": [{"role": "assistant", "function_call": {"name": "f", "arguments": ""}}]},
            "messages.0.function_call",
            "allowed: tool_calls",
        ),
        (
            {
                "messages": [
                    {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "["}}]}
                ]
            },
            "messages.0.tool_calls.0.function.arguments",
            "no JSON object",
        ),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{}]}]},
            "messages.0.tool_calls.0.function",
            "missing",
        ),
        ({"temperature": 11}, "temperature", "from 0 up to 10"),
        ({"stop": [5]}, "stop.0", "not text"),
        ({"stop": 5}, "stop", "not a list"),
        ({"n": 0}, "n", "too small"),
        ({"seed": 2**63}, "seed", "too large"),
        ({"top_logprobs": 2}, "top_logprobs", "needs logprobs"),
        ({"max_tokens": 1, "max_completion_tokens": 2}, "max_tokens", "differs"),
        ({"response_format": {"type": "xml"}}, "response_format.type", "text, json_object, json_schema"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema.schema", "is missing"),
        (
            {"response_format": {"type": "json_object"}, "grammar": "root ::= [a]"},
            "response_format",
            "held to grammar already",
        ),
        ({"functions": [{"name": "f"}]}, "functions", "allowed: tools"),
        ({"function_call": "auto"}, "function_call", "allowed: tool_choice"),
        ({"tools": [{"type": "web_search"}]}, "tools.0.function", "is missing"),
        ({"tool_choice": "required"}, "tool_choice", "no tools"),
        ({"tools": [WEATHER], "tool_choice": "always"}, "tool_choice", "none, auto, required"),
        ({"tools": [WEATHER], "tool_choice": {"type": "function"}}, "tool_choice", "none, auto, required"),
        (
            {"tools": [WEATHER], "tool_choice": {"type": "function", "function": {"name": "nope"}}},
            "tool_choice",
            "allowed: get_weather",
        ),
        (
            {"tools": [WEATHER], "response_format": {"type": "json_object"}},
            "response_format",
            "cannot call tools",
        ),
        ({"continue_final_message": True}, "continue_final_message", "no answer to go on with"),
        (
            {"continue_final_message": True, "messages": [CALLING]},
            "continue_final_message",
            "no answer to go on with",
        ),
        ({"options": {"ctx_len": 5}}, "options.ctx_len", "did you mean 'ctx_length'"),
        ({"repo_id": "a/b"}, "file_name", "is missing"),
    ],
)
def test_a_wrong_field_is_named_as_the_client_called_it(
    site: Site, fields: dict[str, Any], param: str, words: str
) -> None:
    error = problem(site, **fields)
    assert (error["param"], error["code"]) == (param, "invalid_request")
    assert words in error["message"]
    assert site.pipeline.requests == []


def test_every_wrong_field_is_told_at_once(site: Site) -> None:
    message = problem(site, messages=[{"role": "x", "content": 5}], n=0, stop=7, tool_choice="required")[
        "message"
    ]
    for name in ("messages.0.role", "messages.0.content", "n", "stop", "tool_choice"):
        assert f"{name}: " in message


def test_the_engines_words_for_fields_are_turned_into_the_clients(site: Site, pipeline: FakePipeline) -> None:
    for theirs, ours in (
        ("inputs", "messages"),
        ("parameters.grammar", "grammar"),
        ("options.chat_format", "chat_format"),
    ):
        failure = errors.InvalidRequest(f"{theirs}: is wrong")
        pipeline.script = lambda request, failure=failure: [failure]  # type: ignore[misc]
        error = problem(site)
        assert (error["param"], error["message"]) == (ours, f"{ours}: is wrong")
