"""Tools and their turns as templates take them: in plain words, and as the variables of those that know tools."""

from __future__ import annotations

import json

import pytest
from llama_cpp.llama_chat_format import Jinja2ChatFormatter

from api_host.engine.tool_prompt import as_template_dicts, with_tools
from api_host.generation import Message, ToolCall
from api_host.web.output import CallArguments, CallStarted, OutputParser

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather in a city {today}",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
ARGUMENTS = '{"city": "Zürich"}'
CHAT = [
    Message("system", "Be brief."),
    Message("user", "Weather?"),
    Message(
        "assistant",
        "Let me see.",
        [ToolCall("weather", ARGUMENTS, "call_0123456789ab"), ToolCall("time", "", "call_b")],
    ),
    Message("tool", "sunny", tool_call_id="call_0123456789ab"),
    Message("tool", "noon", tool_call_id="call_b"),
    Message("user", "And?"),
    Message("assistant", "Sunny at noon."),
    Message("user", "Thanks"),
]

ROLES = ["system", "user", "assistant", "user", "assistant", "user"]


def test_functions_are_told_at_the_end_of_the_system_turn() -> None:
    told = with_tools(CHAT, [WEATHER])[0]
    assert told.role == "system" and told.content.startswith("Be brief.\n\n")
    assert json.dumps(WEATHER["function"]) in told.content.splitlines()
    assert CHAT[0].content == "Be brief."


def test_a_system_turn_is_made_where_there_is_none() -> None:
    told = with_tools([Message("user", "Hi")], [WEATHER])
    assert [message.role for message in told] == ["system", "user"]
    assert '"weather"' in told[0].content


def test_without_tools_nothing_is_added() -> None:
    chat = [Message("user", "Hi"), Message("user", "There")]
    assert with_tools(chat, []) == chat


def test_the_turns_of_user_and_assistant_alternate_and_lose_nothing() -> None:
    told = with_tools(CHAT, [WEATHER])
    assert [message.role for message in told] == ROLES
    assert all(not message.tool_calls and message.tool_call_id is None for message in told)
    results = told[3].content
    assert (
        results.index("of weather:") < results.index("sunny") < results.index("noon") < results.index("And?")
    )


def test_the_form_that_calls_are_shown_in_is_the_one_that_is_read() -> None:
    parts = OutputParser(tools=True).feed(with_tools(CHAT, [])[2].content)
    assert [part.name for part in parts if isinstance(part, CallStarted)] == ["weather", "time"]
    assert [part.text for part in parts if isinstance(part, CallArguments)] == [ARGUMENTS, "{}"]


def test_a_template_that_knows_tools_gets_them_as_transformers_gives_them() -> None:
    turns = as_template_dicts(CHAT)
    assert turns[0] == {"role": "system", "content": "Be brief."}
    assert turns[2]["tool_calls"] == [
        {
            "id": "call_0123456789ab",
            "type": "function",
            "function": {"name": "weather", "arguments": {"city": "Zürich"}},
        },
        {"id": "call_b", "type": "function", "function": {"name": "time", "arguments": {}}},
    ]
    assert turns[3] == {
        "role": "tool",
        "content": "sunny",
        "tool_call_id": "call_0123456789ab",
        "name": "weather",
    }


def test_arguments_that_are_no_json_stay_text() -> None:
    chat = [Message("assistant", "", [ToolCall("f", "{oops", "x")])]
    assert as_template_dicts(chat)[0]["tool_calls"][0]["function"]["arguments"] == "{oops"
    assert '"{oops"' in with_tools(chat, [])[0].content


def test_short_ids_have_nine_letters_and_still_belong_together() -> None:
    turns = as_template_dicts(CHAT, short_ids=True)
    made = [call["id"] for call in turns[2]["tool_calls"]]
    assert made == [turns[3]["tool_call_id"], turns[4]["tool_call_id"]]
    assert all(len(one) == 9 and one.isalnum() for one in made) and len(set(made)) == 2


def test_a_template_in_hermes_style_renders_the_turns() -> None:
    template = (
        "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}"
        "{% for c in m.tool_calls or [] %}<tool_call>{{ c.function | tojson }}</tool_call>{% endfor %}{% endfor %}"
    )
    formatter = Jinja2ChatFormatter(template, eos_token="", bos_token="")
    prompt = formatter(messages=as_template_dicts(CHAT)).prompt  # type: ignore[arg-type]
    assert '"arguments": {"city": "Zürich"}' in prompt
    assert "<|tool|>sunny<|tool|>noon<|user|>And?" in prompt


@pytest.mark.parametrize("arguments", ["[" * 3000, '{"a": "\\ud83d"}', '{"a": '])
def test_arguments_that_cannot_be_told_as_an_object_are_told_as_they_stand(arguments: str) -> None:
    chat = [Message("assistant", "", [ToolCall("f", arguments, "a")])]
    (turn,) = as_template_dicts(chat)
    assert turn["tool_calls"][0]["function"]["arguments"] == arguments
    (told,) = with_tools(chat, [])
    assert json.dumps(arguments) in told.content
    assert told.content.encode()
