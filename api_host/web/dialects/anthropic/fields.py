"""The bodies of the Messages API, and the requests that they become.

Knows the fields and their rules; blocks are ``turns``'s, tools ``tools``'s. What Anthropic itself does not know is
ignored, but for this house's sampling parameters, which stand at the top level by their own names.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le, MaxLen, MinLen

from api_host.generation import GenerationRequest, SamplingParams
from api_host.web.dialects.anthropic.tools import Tools, read_tools, tools_problems
from api_host.web.dialects.anthropic.turns import Conversation, System, Turn
from api_host.web.naming import NamedModel, naming_problems
from api_host.web.output import forced_call_schema
from api_host.web.validation import Shape, shown

THINKING = ("enabled", "adaptive", "disabled", "between_tools")


@dataclass
class Prompt(NamedModel):
    """What both routes take: all that the model reads.

    ``thinking`` is of the type enabled or adaptive for an answer with the model's reasoning; without it the model is
    asked to leave reasoning out, as Anthropic's models do. ``output_config.format`` holds the text to a JSON schema.
    """

    __pydantic_config__ = {"extra": "ignore"}

    messages: Annotated[list[Turn], MinLen(1), MaxLen(100_000)] = field(kw_only=True)
    system: System = None
    tools: list[Any] | None = None
    tool_choice: dict[str, Any] | None = None
    thinking: dict[str, Any] | None = None
    output_config: dict[str, Any] | None = None


@dataclass
class Body(Prompt, SamplingParams):
    """``stop_sequences`` and ``stop`` add up; top_k and top_p are off unless they are set."""

    __pydantic_config__ = {"extra": "ignore"}

    max_tokens: Annotated[int, Ge(1), Le(1_000_000)] = field(kw_only=True)
    top_k: Annotated[int, Ge(0), Le(1_000_000)] = 0
    top_p: Annotated[float, Ge(0), Le(1)] = 1.0
    stop_sequences: Annotated[list[Annotated[str, MinLen(1), MaxLen(1000)]], MaxLen(64)] | None = None
    n: Literal[1] = 1
    stream: bool = False


@dataclass
class Asked:
    """What a body asks for: the request, and what is left to know when it is answered."""

    request: GenerationRequest
    tools: Tools = field(default_factory=Tools)
    thinking: bool = False


def counted(body: Prompt) -> GenerationRequest:
    """The request whose prompt is to be counted."""
    return _asked(body, SamplingParams()).request


def asked(body: Body) -> Asked:
    """What a body asks for, where nothing is wrong with it."""
    values = {parameter.name: getattr(body, parameter.name) for parameter in fields(SamplingParams)}
    stop = [*body.stop, *(body.stop_sequences or [])]
    return _asked(body, SamplingParams(**{**values, "stop": stop, "include_stop": True}))


def _asked(body: Prompt, sampling: SamplingParams) -> Asked:
    chat = Conversation(body.messages, body.system)
    tools = read_tools(body.tools, body.tool_choice)
    if tools.forced:
        sampling.json_schema = forced_call_schema(tools.offered, tools.name, tools.parallel)
    elif body.output_config and body.output_config.get("format"):
        sampling.json_schema = body.output_config["format"]["schema"]
    held = sampling.json_schema is not None or sampling.grammar is not None
    thinking = (body.thinking or {}).get("type") in ("enabled", "adaptive")
    request = GenerationRequest(
        inputs=chat.turns,
        model=body.reference,
        sampling=sampling,
        tools=tools.offered,
        template_values={"enable_thinking": thinking and not held},
        continue_last=chat.is_begun_answer,
        want_prompt=True,
        show_control=bool(tools.offered),
    )
    return Asked(request, tools, thinking)


def body_problems(body: dict[str, Any]) -> list[str]:
    """What is wrong between the fields of a parsed body, and within those that have several shapes."""
    problems = naming_problems(body) + Conversation(body.get("messages"), body.get("system")).problems
    if body.get("logprobs") is not None:
        problems.append("logprobs: a message has no place for them; allowed: null")
    return problems + tools_problems(body) + _thinking_problems(body) + _form_problems(body)


def _thinking_problems(body: dict[str, Any]) -> list[str]:
    thinking = body.get("thinking")
    if not isinstance(thinking, dict):
        return []
    kind = thinking.get("type")
    if kind not in THINKING:
        wrong = f"{shown(kind)} is not known" if "type" in thinking else "is missing"
        return [f"thinking.type: {wrong}; allowed: {', '.join(THINKING)}"]
    if kind == "enabled" and _forces_a_call(body):
        return ["thinking: tool_choice asks for a call at once; allowed: disabled"]
    return []


def _form_problems(body: dict[str, Any]) -> list[str]:
    config = body.get("output_config")
    form = config.get("format") if isinstance(config, dict) else None
    if form is not None and not _is_json_schema(form):
        allowed = '{"type": "json_schema", "schema": {...}}'
        return [f"output_config.format: {shown(form)} is not known; allowed: {allowed}"]
    forms = [name for name in ("grammar", "json_schema") if body.get(name) is not None]
    forms += ["output_config.format"] if form is not None else []
    forms += ["tool_choice"] if _forces_a_call(body) else []
    if len(forms) < 2:
        return []
    return [f"{forms[0]}: {' and '.join(forms)} hold the text to different forms; allowed: one of them"]


def _is_json_schema(form: Any) -> bool:
    return (
        isinstance(form, dict) and form.get("type") == "json_schema" and isinstance(form.get("schema"), dict)
    )


def _forces_a_call(body: dict[str, Any]) -> bool:
    choice = body.get("tool_choice")
    return isinstance(choice, dict) and choice.get("type") in ("any", "tool")


COUNT_SHAPE = Shape(Prompt, body_problems)
SHAPE = Shape(Body, body_problems)
