"""The tools of a request and which of them the model has to call, as this house describes them.

Knows the fields ``tools`` and ``tool_choice``; how calls are written and read is ``web.output``'s.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from api_host.web.validation import shown

CHOICES = ("auto", "any", "tool", "none")
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_OWN = (None, "custom")


@dataclass
class Tools:
    """``offered`` as OpenAI describes functions; ``forced``: one has to be called, ``name`` if it is given."""

    offered: list[dict[str, Any]] = field(default_factory=list)
    forced: bool = False
    name: str | None = None
    parallel: bool = True


def read_tools(tools: list[Any] | None, choice: dict[str, Any] | None) -> Tools:
    """The tools of a body in which ``tools_problems`` found nothing."""
    choice = choice or {"type": "auto"}
    if choice["type"] == "none":
        return Tools()
    parallel = not choice.get("disable_parallel_tool_use", False)
    forced = choice["type"] in ("any", "tool")
    return Tools([_function(tool) for tool in tools or []], forced, choice.get("name"), parallel)


def _function(tool: dict[str, Any]) -> dict[str, Any]:
    described = {
        "name": tool["name"],
        "description": tool.get("description") or "",
        "parameters": tool["input_schema"],
    }
    return {"type": "function", "function": described}


def tools_problems(body: dict[str, Any]) -> list[str]:
    """What is wrong with ``tools`` and ``tool_choice`` of a parsed body; a sentence for each."""
    tools, choice = body.get("tools"), body.get("tool_choice")
    listed = tools if isinstance(tools, list) else []
    problems = [problem for i, tool in enumerate(listed) for problem in _tool_problems(tool, f"tools.{i}")]
    names = [tool.get("name") for tool in listed if isinstance(tool, dict)]
    problems += [
        f"tools.{i}.name: {shown(name)} names a second tool; allowed: a name for each"
        for i, name in enumerate(names)
        if isinstance(name, str) and name in names[:i]
    ]
    return problems + (_choice_problems(choice, names) if isinstance(choice, dict) else [])


def _tool_problems(tool: Any, where: str) -> list[str]:
    if not isinstance(tool, dict):
        return [f"{where}: {shown(tool)} is not a tool; allowed: name, description and input_schema"]
    if tool.get("type") not in _OWN:
        return [
            f"{where}.type: {shown(tool['type'])} is a tool of Anthropic's own, which this host does not have; "
            "allowed: custom tools, with name, description and input_schema"
        ]
    problems = []
    name, described = tool.get("name"), tool.get("description")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        wrong = f"{shown(name)} is no name" if "name" in tool else "is missing"
        problems.append(f"{where}.name: {wrong}; allowed: 1 to 128 letters, digits, _ and -")
    if described is not None and not isinstance(described, str):
        problems.append(f"{where}.description: {shown(described)} is not text; allowed: text")
    if not isinstance(tool.get("input_schema"), dict):
        wrong = f"{shown(tool['input_schema'])} is not an object" if "input_schema" in tool else "is missing"
        problems.append(f"{where}.input_schema: {wrong}; allowed: a JSON schema")
    return problems


def _choice_problems(choice: dict[str, Any], names: list[Any]) -> list[str]:
    kind, name = choice.get("type"), choice.get("name")
    problems = []
    if kind not in CHOICES:
        wrong = f"{shown(kind)} is not known" if "type" in choice else "is missing"
        problems.append(f"tool_choice.type: {wrong}; allowed: {', '.join(CHOICES)}")
    elif kind in ("any", "tool") and not names:
        problems.append("tools: is missing; tool_choice asks for a call of one")
    elif kind == "tool" and name not in names:
        wrong = f"{shown(name)} is none of the tools" if "name" in choice else "is missing"
        problems.append(f"tool_choice.name: {wrong}; allowed: {', '.join(map(str, names))}")
    single = choice.get("disable_parallel_tool_use", False)
    if not isinstance(single, bool):
        problems.append(
            f"tool_choice.disable_parallel_tool_use: {shown(single)} is not true or false; allowed: true or false"
        )
    return problems
