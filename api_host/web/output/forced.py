"""The JSON schema that holds a model to calling a function: the form which ``OutputParser(forced=True)`` reads.

References in a schema count from its root, so what those of a function point at moves to the root of the whole. The
arguments are held to their schema as far as it is understood: descriptions of functions are written for readers.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from api_host.errors import InvalidRequest
from api_host.generation import AS_FAR_AS_IT_GOES


def forced_call_schema(tools: list[dict[str, Any]], name: str | None, parallel: bool) -> dict[str, Any]:
    """The schema for ``SamplingParams.json_schema``.

    Args:
        tools: functions as OpenAI describes them: ``{"type": "function", "function": {"name", "parameters"}}``.
        name: the function to call; None: any of them.
        parallel: whether the answer is a list of at least one call; else it is one call.

    Raises:
        InvalidRequest: no tool has this name, there is none, or a schema refers to what is not there.
    """
    functions = [tool["function"] for tool in tools if name in (None, tool["function"]["name"])]
    if not functions:
        known = ", ".join(tool["function"]["name"] for tool in tools) or "none, for tools is empty"
        raise InvalidRequest(f"tool_choice: there is no function {name or 'to call'}; allowed: {known}")
    definitions: dict[str, Any] = {}
    calls = [_call(function, definitions) for function in functions]
    schema = calls[0] if len(calls) == 1 else {"anyOf": calls}
    if parallel:
        schema = {"type": "array", "items": schema, "minItems": 1}
    schema = {**schema, "x-guidance": {"lenient": True}}
    return {**schema, "$defs": definitions} if definitions else schema


def _call(function: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    parameters = function.get("parameters") or {"type": "object"}
    arguments = _Hoisting(function["name"], parameters, definitions).moved(parameters)
    if not any(key in arguments for key in ("type", "$ref", "anyOf", "oneOf", "allOf")):
        arguments = {"type": "object", **arguments}
    arguments = {**arguments, AS_FAR_AS_IT_GOES: True}
    return {
        "type": "object",
        "properties": {"name": {"const": function["name"]}, "arguments": arguments},
        "required": ["name", "arguments"],
        "additionalProperties": False,
    }


class _Hoisting:
    """Moves what the references in one function's schema point to up to the definitions of the whole."""

    def __init__(self, function: str, root: dict[str, Any], definitions: dict[str, Any]) -> None:
        self._function, self._root, self._definitions = function, root, definitions
        self._names: dict[str, str] = {}

    def moved(self, schema: Any) -> Any:
        """The schema with its references on the definitions of the whole; its own definitions left out."""
        if isinstance(schema, list):
            return [self.moved(item) for item in schema]
        if not isinstance(schema, dict):
            return schema
        reference = schema.get("$ref")
        if isinstance(reference, str):
            return {"$ref": f"#/$defs/{self._name(reference)}"}
        return {
            key: {name: self.moved(field) for name, field in item.items()}
            if key == "properties" and isinstance(item, dict)
            else self.moved(item)
            for key, item in schema.items()
            if key not in ("$defs", "definitions", "$id")
        }

    def _name(self, reference: str) -> str:
        if reference not in self._names:
            name = self._names[reference] = f"ref-{len(self._definitions)}"
            self._definitions[name] = {}
            self._definitions[name] = self.moved(self._target(reference))
        return self._names[reference]

    def _target(self, reference: str) -> Any:
        place: Any = self._root
        start, *path = reference.split("/")
        for step in path if start == "#" else [None]:
            place = _inside(place, step)
        if not isinstance(place, dict):
            raise InvalidRequest(
                f"tools: the parameters of {self._function} refer to {reference[:60]}, which is not in them"
            )
        return place


def _inside(place: Any, step: str | None) -> Any:
    """What a step of a JSON pointer (RFC 6901, in a URI) leads to."""
    name = unquote(step or "").replace("~1", "/").replace("~0", "~")
    if isinstance(place, list):
        return place[int(name)] if name.isdecimal() and int(name) < len(place) else None
    return place.get(name) if isinstance(place, dict) and step is not None else None
