"""``tools`` and ``tool_choice`` as ``/v1/responses`` has them: functions that are not nested, and choices among them.

Knows their shape; what they come down to is the same as for a chat.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from annotated_types import MaxLen, MinLen

from api_host.web.dialects.openai.tools import Calling, Function, Tool, calling
from api_host.web.validation import shown

_ALLOWED = (
    'none, auto, required, {"type": "function", "name": one of tools}, '
    'or {"type": "allowed_tools", "mode": auto or required, "tools": some of tools}'
)


@dataclass
class FlatTool:
    """A function that the model may call."""

    __pydantic_config__ = {"extra": "ignore"}

    name: Annotated[str, MinLen(1), MaxLen(256)]
    type: Literal["function"] = "function"
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


def flat_calling(tools: list[FlatTool], choice: Any) -> Calling:
    """What ``tools`` and a ``tool_choice`` without problems come down to."""
    if isinstance(choice, dict) and choice["type"] == "allowed_tools":
        names = _names_in(choice)
        tools, choice = [tool for tool in tools if tool.name in names], choice.get("mode", "auto")
    elif isinstance(choice, dict):
        choice = {"function": {"name": choice["name"]}}
    return calling([Tool(Function(tool.name, tool.description, tool.parameters)) for tool in tools], choice)


def choice_problems(body: dict[str, Any]) -> list[str]:
    """What is wrong between ``tools`` and ``tool_choice`` of a body as it came."""
    tools, choice = body.get("tools"), body.get("tool_choice")
    if choice is None or choice in ("none", "auto"):
        return []
    if choice != "required" and not _is_choice(choice):
        return [f"tool_choice: {shown(choice)} is not known; allowed: {_ALLOWED}"]
    known = [tool.get("name") for tool in tools if isinstance(tool, dict)] if isinstance(tools, list) else []
    if not known:
        return ["tool_choice: there are no tools to choose from; allowed: none, auto, or send tools"]
    return [
        f"tool_choice: there is no tool {shown(name)}; allowed: {', '.join(map(str, known))[:200]}"
        for name in _names_in(choice)
        if name not in known
    ]


def _is_choice(choice: Any) -> bool:
    if not isinstance(choice, dict):
        return False
    if choice.get("type") == "allowed_tools":
        some = choice.get("tools")
        return (
            choice.get("mode", "auto") in ("auto", "required")
            and isinstance(some, list)
            and all(isinstance(tool, dict) and isinstance(tool.get("name"), str) for tool in some)
        )
    return choice.get("type") == "function" and isinstance(choice.get("name"), str)


def _names_in(choice: Any) -> list[str]:
    """The functions that a choice names."""
    if choice == "required":
        return []
    return (
        [tool["name"] for tool in choice["tools"]] if choice["type"] == "allowed_tools" else [choice["name"]]
    )
