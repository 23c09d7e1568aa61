"""Chats as text: the model's own template, every named format, and clear refusals."""

from __future__ import annotations

import pytest

from api_host.engine.llama.chat_template import ChatTemplate, named_formats
from api_host.errors import InvalidRequest
from api_host.generation import GenerationRequest, Message

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


def test_a_turn_that_is_gone_on_with_is_left_open():
    chat = [*CHAT, Message("assistant", "Good")]
    prompt = ChatTemplate(TEMPLATE, "<s>", "</s>").render(GenerationRequest(chat, continue_last=True))
    assert prompt.text.endswith("<|user|>Bye</s><|assistant|>Good")
