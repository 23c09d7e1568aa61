"""Chats as text: the model's own template, every named format, and clear refusals."""

from __future__ import annotations

import pytest

from api_host.engine.llama.chat_template import ChatTemplate, named_formats
from api_host.errors import InvalidRequest
from api_host.generation import GenerationRequest, Message, ToolCall

TEMPLATE = (
    "{% for m in messages %}{% if m.role == 'critic' %}{{ raise_exception('no critics') }}{% endif %}"
    "<|{{ m.role }}|>{{ m.content }}{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
CHAT = [
    Message("system", "Be brief."),
    Message("user", "Hello"),
    Message("assistant", "Hi"),
    Message("user", "Bye"),
]


def test_the_own_template_renders_the_chat_for_the_assistants_turn():
    prompt = ChatTemplate(TEMPLATE, bos="<s>", eos="</s>").render(GenerationRequest(CHAT))
    assert prompt.text == (
        "<|system|>Be brief.</s><|user|>Hello</s><|assistant|>Hi</s><|user|>Bye</s><|assistant|>"
    )
    assert prompt.stop == []


@pytest.mark.parametrize("name", sorted(named_formats()))
def test_every_named_format_renders_the_last_question(name: str):
    prompt = ChatTemplate(None, "<s>", "</s>").render(GenerationRequest(CHAT[1:], chat_format=name))
    assert "Bye" in prompt.text
    assert prompt.text.index("Hello") < prompt.text.index("Bye")


@pytest.mark.parametrize("name", sorted(named_formats()))
def test_every_named_format_tells_what_the_system_says(name: str):
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
    for tools in ([], [tool]):
        prompt = ChatTemplate(None, "<s>", "</s>").render(
            GenerationRequest(CHAT, chat_format=name, tools=tools)
        )
        assert prompt.text.count("Be brief.") == 1
        assert ('"look"' in prompt.text) == bool(tools)
        assert prompt.text.index("Be brief.") < prompt.text.index("Hello")


@pytest.mark.parametrize("tools", [[], [{"type": "function", "function": {"name": "add"}}]])
@pytest.mark.parametrize("name", sorted(named_formats()))
def test_every_named_format_tells_each_turn_once(name: str, tools: list[dict]):
    said = ["user", "assistant", "system", "system", "user", "assistant", "user", "system"]
    for before in ([], ["system"], ["system", "system"]):
        chat = [Message(role, f"turn {i}.") for i, role in enumerate(before + said)]
        asked = GenerationRequest(chat, chat_format=name, tools=tools)
        text = ChatTemplate(None, "<s>", "</s>").render(asked).text
        assert [text.count(turn.content) for turn in chat] == [1] * len(chat)
        assert ('"add"' in text) == bool(tools)


def test_the_formats_of_the_contract_are_there():
    assert {"llama-2", "chatml", "zephyr", "vicuna", "alpaca"} <= set(named_formats())


@pytest.mark.parametrize(
    ("template", "chat", "chat_format", "says"),
    [
        (TEMPLATE, CHAT, "klingon", "options.chat_format: 'klingon' is not known"),
        (None, CHAT, None, "carries no chat template"),
        (TEMPLATE, [Message("critic", "x")], None, "refuses this chat: no critics"),
        ("{% for %}", CHAT, None, "own chat template is broken"),
        ("{{ messages[0].nothing.more }}", CHAT, None, "refuses this chat"),
        ("{{ 'x' * (10 ** 12) | int }}{{ ''.__class__.__mro__ }}", CHAT[:1], "chatml", ""),
    ],
)
def test_what_cannot_be_rendered_is_said(
    template: str | None, chat: list[Message], chat_format: str, says: str
):
    template_of = ChatTemplate(template, "<s>", "</s>")
    if not says:
        assert template_of.render(GenerationRequest(chat, chat_format=chat_format)).text
        return
    with pytest.raises(InvalidRequest, match="(?s)" + says):
        template_of.render(GenerationRequest(chat, chat_format=chat_format))


def test_a_template_cannot_reach_out_of_the_sandbox():
    template = "{{ ''.__class__.__mro__[1].__subclasses__() }}"
    with pytest.raises(InvalidRequest, match="refuses this chat"):
        ChatTemplate(template, "", "").render(GenerationRequest(CHAT))


def test_a_template_that_knows_no_tools_is_told_of_them_in_words():
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
    prompt = ChatTemplate(TEMPLATE, "<s>", "</s>").render(GenerationRequest(CHAT[1:], tools=[tool]))
    assert prompt.text.startswith("<|system|>")
    assert '"name": "look"' in prompt.text


@pytest.mark.parametrize(
    ("template", "chat_format"),
    [
        (
            "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}" + TEMPLATE,
            None,
        ),
        (TEMPLATE.replace("{% for m in messages %}", "{% for m in messages if m.role != 'system' %}"), None),
        (None, "gemma"),
    ],
)
def test_where_a_template_has_no_system_turn_the_user_tells_of_tools(
    template: str | None, chat_format: str | None
):
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
    request = GenerationRequest([Message("user", "Hello")], tools=[tool], chat_format=chat_format)
    prompt = ChatTemplate(template, "<s>", "</s>").render(request)
    assert prompt.text.index("user") < prompt.text.index('"name": "look"') < prompt.text.index("Hello")


def test_a_turn_that_is_gone_on_with_is_left_open():
    chat = [*CHAT, Message("assistant", "Good")]
    prompt = ChatTemplate(TEMPLATE, "<s>", "</s>").render(GenerationRequest(chat, continue_last=True))
    assert prompt.text.endswith("<|user|>Bye</s><|assistant|>Good")


# Llama 3's refuses a second call in a turn, gpt-oss's leaves it out, Qwen's shows it.
REFUSES = "{% if m.tool_calls|length > 1 %}{{ raise_exception('one at once') }}{% endif %}"
ONE = "{{ m.tool_calls[0].function.arguments }}"
ALL = "{% for c in m.tool_calls %}{{ c.function.arguments }}{% endfor %}"
CALLS = [
    Message("user", "Weather?"),
    Message("assistant", "So", [ToolCall("f", '{"a": 1}', "x"), ToolCall("f", '{"a": 2}', "y")]),
    Message("tool", "rain", tool_call_id="y"),
    Message("tool", "sun", tool_call_id="x"),
    Message("user", "And?"),
]


@pytest.mark.parametrize(
    ("shown", "told"),
    [
        (REFUSES + ONE, "user:Weather?|{'a': 1}:So|tool:sun|{'a': 2}:|tool:rain|user:And?|"),
        (ONE, "user:Weather?|{'a': 1}:So|tool:sun|{'a': 2}:|tool:rain|user:And?|"),
        (ALL, "user:Weather?|{'a': 1}{'a': 2}:So|tool:rain|tool:sun|user:And?|"),
    ],
)
def test_each_call_is_a_turn_where_the_template_takes_one_at_once(shown: str, told: str):
    turn = f"{{% if m.tool_calls %}}{shown}{{% else %}}{{{{ m.role }}}}{{% endif %}}:{{{{ m.content }}}}{{{{ '|' }}}}"
    template = f"{{{{ '' if tools }}}}{{% for m in messages %}}{turn}{{% endfor %}}"
    assert ChatTemplate(template, "", "").render(GenerationRequest(CALLS)).text == told
