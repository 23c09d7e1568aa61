"""A chat as the text that a model was trained on: its own Jinja template, or a named ``chat_format``.

Knows nothing of tokens. Rendering comes from llama-cpp-python; templates run in its sandbox.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import jinja2
import jinja2.meta
from llama_cpp import llama_chat_format

from api_host.engine.tool_prompt import (
    as_template_dicts,
    one_call_a_turn,
    with_first_system,
    with_tools,
    without_system,
)
from api_host.errors import InvalidRequest
from api_host.generation import GenerationRequest, Message, ToolCall

# What a template raises on purpose, or for a chat that lacks something: their words say enough.
_SPEAKS = (ValueError, TypeError, KeyError, jinja2.TemplateError)
# A tool with all that templates read of one.
_PROBE = {
    "type": "function",
    "function": {
        "name": "f",
        "description": "F.",
        "parameters": {
            "type": "object",
            "properties": {"a": {"type": "string", "description": "A."}},
            "required": ["a"],
        },
    },
}


@dataclass
class Prompt:
    """A rendered chat: the text, and the strings at which this format's answers end."""

    text: str
    stop: list[str] = field(default_factory=list)


def named_formats() -> dict[str, Callable[..., Any]]:
    """The formatters that llama-cpp-python registers, by name: those that only render text, and lose none of it."""
    registry = llama_chat_format.LlamaChatCompletionHandlerRegistry()
    found = {}
    for name, completion in registry._chat_handlers.items():
        formatter = inspect.getclosurevars(completion).nonlocals.get("chat_formatter")
        # open-orca of 0.3.36 drops every message: its roles are spelled with capitals.
        if (
            formatter is not None
            and "probe" in formatter(messages=[{"role": "user", "content": "probe"}]).prompt
        ):
            found[name] = formatter
    if "saiga" in found:
        found["saiga"] = _with_bot(found["saiga"])
    return found


def _with_bot(formatter: Callable[..., Any]) -> Callable[..., Any]:
    """A format that knows the assistant as a bot only, and leaves out the turns of anybody else."""

    def formatted(messages: list[dict[str, Any]], **values: Any) -> Any:
        turns = [{**turn, "role": "bot"} if turn["role"] == "assistant" else turn for turn in messages]
        return formatter(messages=turns, **values)

    return formatted


class ChatTemplate:
    """Renders chats for one model.

    Args:
        template: the Jinja template of the GGUF, or None.
        bos: the text of the model's BOS token; ``eos`` likewise.
    """

    def __init__(self, template: str | None, bos: str, eos: str) -> None:
        self._source = template
        self._bos, self._eos = bos, eos
        self._own: llama_chat_format.Jinja2ChatFormatter | None = None
        self._named: dict[str, Callable[..., Any]] | None = None

    def render(self, request: GenerationRequest) -> Prompt:
        """The prompt of a request's chat, ready for the assistant's turn, or in the midst of it (``continue_last``).

        Raises:
            InvalidRequest: an unknown format, a model without a template, or a chat the template refuses.
        """
        assert not isinstance(request.inputs, str)
        chat_format = request.chat_format
        formatter = self._formatter(chat_format)
        continued = request.inputs[-1].content if request.continue_last else ""
        messages = request.inputs[:-1] if request.continue_last else request.inputs
        values = dict(request.template_values)
        try:
            if chat_format is None and self._knows_tools:
                values["tools"] = request.tools or None
                if not all(self._takes(len(turn.tool_calls)) for turn in messages):
                    messages = one_call_a_turn(messages)
            else:
                messages = _in_words(messages, request.tools, formatter, named=chat_format is not None)
            turns = as_template_dicts(messages, short_ids="length != 9" in (self._source or ""))
            answer = formatter(messages=turns, **values)
        # A template is a program of the model's author, and fails in as many ways as one.
        except Exception as error:
            which = f"chat format {chat_format!r}" if chat_format else "the model's chat template"
            what = str(error) if isinstance(error, _SPEAKS) else f"{type(error).__name__}: {error}"
            raise InvalidRequest(f"inputs: {which} refuses this chat: {what}") from error
        stop = [answer.stop] if isinstance(answer.stop, str) else list(answer.stop or ())
        # A template may write half of a pair of surrogates, which is no text.
        text = (answer.prompt + continued).encode("utf-8", "replace").decode()
        return Prompt(text, stop if chat_format else [])

    @cached_property
    def _knows_tools(self) -> bool:
        """Whether the model's own template has a place for tools."""
        parsed = self._own_formatter()._environment.environment.parse(self._source or "")
        return "tools" in jinja2.meta.find_undeclared_variables(parsed)

    def _takes(self, n_calls: int) -> bool:
        """Whether a turn may make so many calls."""
        return n_calls < 2 or self._takes_several_calls

    @cached_property
    def _takes_several_calls(self) -> bool:
        """Whether the model's own template shows every call of a turn: some refuse a second one, some forget it."""
        values = ["probe-one", "probe-two"]
        calls = [ToolCall("f", f'{{"a": "{value}"}}', f"call{i:05}") for i, value in enumerate(values)]
        results = [Message("tool", "1", tool_call_id=call.id, name="f") for call in calls]
        turns = as_template_dicts([Message("user", "Hi"), Message("assistant", "", calls), *results])
        try:
            text = self._formatter(None)(messages=turns, tools=[_PROBE]).prompt
        except Exception:  # noqa: BLE001 - a template fails in as many ways as a program; it takes no such turn
            return False
        return all(value in text for value in values)

    def _formatter(self, chat_format: str | None) -> Callable[..., Any]:
        if chat_format is None:
            return self._own_formatter()
        if self._named is None:
            self._named = named_formats()
        if chat_format not in self._named:
            names = ", ".join(sorted(self._named))
            raise InvalidRequest(f"options.chat_format: {chat_format!r} is not known; known are {names}")
        return self._named[chat_format]

    def _own_formatter(self) -> llama_chat_format.Jinja2ChatFormatter:
        if self._source is None:
            raise InvalidRequest(
                "options.chat_format: this model carries no chat template; name a format such as chatml, "
                "llama-2, zephyr, vicuna or alpaca, or send inputs as plain text"
            )
        if self._own is None:
            try:
                self._own = llama_chat_format.Jinja2ChatFormatter(
                    self._source, eos_token=self._eos, bos_token=self._bos
                )
            except jinja2.TemplateError as error:
                raise InvalidRequest(
                    f"options.chat_format: the model's own chat template is broken ({error}); name a format"
                ) from error
        return self._own


def _in_words(
    messages: list[Message], tools: list[dict[str, Any]], formatter: Callable[..., Any], *, named: bool
) -> list[Message]:
    """The chat for a template that knows nothing of tools.

    What the model's own template refuses stays refused; named ones leave it out without a word, and are given a turn of
    the system only where they show it.
    """
    said = [Message("system", "probe"), Message("user", "Hi")]
    has_system = any(turn.role == "system" for turn in messages)
    in_system = not (tools or has_system) or _shows(formatter, said)
    messages = with_tools(messages, tools, in_system=in_system)
    if not named:
        return messages
    if not in_system:
        return without_system(messages)
    several = sum(turn.role == "system" for turn in messages) > 1
    later = [Message("system", "Hi"), Message("user", "Hi"), *said]
    return messages if not several or _shows(formatter, later) else with_first_system(messages)


def _shows(formatter: Callable[..., Any], said: list[Message]) -> bool:
    """Whether a template has a place for the turn of a probe: Gemma's refuses one of the system, some leave it out."""
    turns = as_template_dicts(said)
    try:
        return "probe" in formatter(messages=turns).prompt
    except Exception:  # noqa: BLE001 - a template fails in as many ways as a program; it has no place for one
        return False
