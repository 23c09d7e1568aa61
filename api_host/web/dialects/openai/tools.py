"""``tools`` and ``tool_choice``: which functions a model may call, or must.

Knows neither how a template shows tools nor how a model writes calls.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from annotated_types import MaxLen, MinLen
from pydantic import WithJsonSchema

from api_host.web.dialects.openai.fields import forms
from api_host.web.validation import shown

_CHOICES = ("auto", "none", "required")
ToolChoice = Annotated[Any, WithJsonSchema({"anyOf": [{"enum": [*_CHOICES, None]}, {"type": "object"}]})]
_ALLOWED = 'none, auto, required, or {"type": "function", "function": {"name": one of tools}}'


@dataclass
class Function:
    """What the model is told of a function; ``parameters`` is a JSON schema of its arguments."""

    __pydantic_config__ = {"extra": "ignore"}

    name: Annotated[str, MinLen(1), MaxLen(256)]
    description: str | None = None
    parameters: dict[str, Any] | None = None


@dataclass
class Tool:
    __pydantic_config__ = {"extra": "ignore"}

    function: Function
    type: Literal["function"] = "function"

    def described(self) -> dict[str, Any]:
        """The tool as a chat template takes it."""
        told: dict[str, Any] = {"name": self.function.name}
        if self.function.description is not None:
            told["description"] = self.function.description
        told["parameters"] = self.function.parameters or {"type": "object", "properties": {}}
        return {"type": "function", "function": told}


@dataclass(frozen=True)
class Calling:
    """What a request asks of its tools.

    Args:
        tools: those that the model is shown, as a chat template takes them.
        forced: whether it has to call one.
        name: which one, if only one is allowed.
    """

    tools: list[dict[str, Any]]
    forced: bool = False
    name: str | None = None


def calling(tools: list[Tool] | None, choice: Any) -> Calling:
    """What ``tools`` and a ``tool_choice`` without problems come down to; with ``none``, no tool is shown."""
    if not tools or choice == "none":
        return Calling([])
    described = [tool.described() for tool in tools]
    if isinstance(choice, dict):
        return Calling(described, forced=True, name=choice["function"]["name"])
    return Calling(described, forced=choice == "required")


def tool_problems(body: dict[str, Any]) -> list[str]:
    """What is wrong between ``tools``, ``tool_choice``, and the form to which the answer is held."""
    problems = [
        f"{old}: is no longer spoken here; allowed: {new}"
        for old, new in (("functions", "tools"), ("function_call", "tool_choice"))
        if body.get(old) is not None
    ]
    names = _names(body.get("tools"))
    choice = body.get("tool_choice")
    problems += _choice_problems(choice, names)
    held = forms(body)
    if names and held and choice != "none":
        problems.append(
            f"{held[0]}: an answer held to a form cannot call tools; "
            "allowed: one of the two, or tool_choice none"
        )
    return problems


def _names(tools: Any) -> list[Any]:
    functions = (
        [tool.get("function") for tool in tools if isinstance(tool, dict)] if isinstance(tools, list) else []
    )
    return [function.get("name") for function in functions if isinstance(function, dict)]


def _choice_problems(choice: Any, names: list[Any]) -> list[str]:
    if choice is None or choice == "none":
        return []
    function = choice.get("function") if isinstance(choice, dict) else None
    named = function.get("name") if isinstance(function, dict) else None
    if choice not in _CHOICES and named is None:
        return [f"tool_choice: {shown(choice)} is not known; allowed: {_ALLOWED}"]
    if not names and choice != "auto":
        return ["tool_choice: there are no tools to choose from; allowed: none, auto, or send tools"]
    if named is not None and named not in names:
        return [f"tool_choice: there is no tool {shown(named)}; allowed: {', '.join(map(str, names))[:200]}"]
    return []
