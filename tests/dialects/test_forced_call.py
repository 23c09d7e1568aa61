"""The schema that forces a call: what it allows, and that the demo model is held to it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from api_host import ApiHost
from api_host.engine.llama.json_schema import JsonSchemas
from api_host.engine.llama.model import LlamaModel
from api_host.errors import InvalidRequest
from api_host.models.demo import DEMO_MODEL_PATH
from api_host.web.output import CallArguments, CallStarted, OutputParser, forced_call_schema

SIZES = ["small", "large"]


@pytest.fixture(scope="module")
def schemas() -> Iterator[JsonSchemas]:
    model = LlamaModel(str(DEMO_MODEL_PATH))
    yield JsonSchemas(model)
    model.close()


def function(name: str, parameters: dict[str, Any] | None) -> dict[str, Any]:
    found: dict[str, Any] = {"name": name}
    return {"type": "function", "function": found | ({"parameters": parameters} if parameters else {})}


def an_object(properties: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)} | more


PAINT = function("paint_it", an_object({"size": {"enum": SIZES}, "on": {"type": "boolean"}}))
WIPE = function("wipe", an_object({"far": {"$ref": "#/$defs/Far"}}, **{"$defs": {"Far": {"enum": SIZES}}}))
DROP = function("drop", an_object({"far": {"$ref": "#/$defs/Far"}}, **{"$defs": {"Far": {"type": "null"}}}))
TREE = function(
    "grow",
    an_object(
        {"tree": {"$ref": "#/$defs/A_Tree"}},
        **{
            "$defs": {
                "A_Tree": {
                    "anyOf": [{"type": "null"}, {"type": "array", "items": {"$ref": "#/$defs/A_Tree"}}]
                }
            }
        },
    ),
)
NOTHING = function("nothing", None)
TOOLS = [PAINT, WIPE, DROP, TREE, NOTHING]


def forced(host: ApiHost, schema: dict[str, Any]) -> list[tuple[str, Any]]:
    """The calls, (name, arguments), that the demo model makes under a schema."""
    body = {
        "inputs": [{"role": "user", "content": "What is the capital of France?"}],
        "parameters": {"json_schema": schema, "max_tokens": 300, "seed": 1},
    }
    answer = requests.post(
        f"{host.local_url}/api",
        json=body,
        headers={"Authorization": f"Bearer {host.access_token}"},
        timeout=30,
    )
    assert answer.status_code == 200, answer.text
    parser = OutputParser(tools=True, forced=True)
    parts = parser.feed(answer.json()["answer"]["content"]) + parser.finish()
    names = [part.name for part in parts if isinstance(part, CallStarted)]
    texts = [part.text for part in parts if isinstance(part, CallArguments)]
    assert len(parts) == 2 * len(names) == 2 * len(texts), parts
    return [(name, json.loads(text)) for name, text in zip(names, texts, strict=True)]


def test_the_model_calls_the_one_function_that_it_is_held_to(demo_host: ApiHost) -> None:
    [(name, arguments)] = forced(demo_host, forced_call_schema(TOOLS, "paint_it", parallel=False))
    assert name == "paint_it" and list(arguments) == ["size", "on"]
    assert arguments["size"] in SIZES and isinstance(arguments["on"], bool)


def test_references_of_each_function_stay_its_own(demo_host: ApiHost) -> None:
    both = [WIPE, DROP]
    [(_, wiped)] = forced(demo_host, forced_call_schema(both, "wipe", parallel=False))
    [(_, dropped)] = forced(demo_host, forced_call_schema(both, "drop", parallel=False))
    assert wiped["far"] in SIZES and dropped == {"far": None}
    [(name, either)] = forced(demo_host, forced_call_schema(both, None, parallel=False))
    assert either == {"far": None} if name == "drop" else either["far"] in SIZES


def test_any_function_may_be_called_in_a_list_of_at_least_one(demo_host: ApiHost) -> None:
    small = [function("a", an_object({"x": {"enum": [1]}})), function("b", an_object({"x": {"enum": [2]}}))]
    calls = forced(demo_host, {**forced_call_schema(small, None, parallel=True), "maxItems": 3})
    assert 1 <= len(calls) <= 3
    assert all((name, arguments["x"]) in (("a", 1), ("b", 2)) for name, arguments in calls)


@pytest.mark.parametrize("parallel", [False, True])
@pytest.mark.parametrize("name", [None, *(tool["function"]["name"] for tool in TOOLS)])
def test_every_schema_can_be_held_to(schemas: JsonSchemas, name: str | None, parallel: bool) -> None:
    schema = forced_call_schema(TOOLS, name, parallel)
    assert not schemas.held(schema).ended
    assert json.loads(json.dumps(schema)) == schema


@pytest.mark.parametrize(
    "parameters",
    [
        an_object({"a": {"type": "string", "pattern": "^(?=a)b"}}),
        an_object({"a": {"type": "file"}}),
        an_object({"a": {"type": "string"}}, required=None),
        an_object({"a": {"anyOf": [{"type": "null"}, PAINT]}, "b": {"$ref": "#/properties/a/anyOf/0"}}),
        an_object({"a": {"$ref": "#/$defs/x~1y%20z"}}, **{"$defs": {"x/y z": {"type": "null"}}}),
        an_object({"a": {"$ref": "#/$defs/A"}}, **{"$id": "http://x/y", "$defs": {"A": {"type": "null"}}}),
    ],
)
def test_no_tool_is_a_reason_to_refuse_a_call(schemas: JsonSchemas, parameters: dict[str, Any]) -> None:
    schemas.held(forced_call_schema([PAINT, function("odd", parameters)], None, parallel=True))


def test_parameters_without_a_type_are_an_object(demo_host: ApiHost) -> None:
    untyped = {"properties": {"x": {"enum": [1]}}, "required": ["x"]}
    assert forced(demo_host, forced_call_schema([function("f", untyped)], "f", False)) == [("f", {"x": 1})]


def test_a_parameter_may_say_what_nobody_holds_to(schemas: JsonSchemas) -> None:
    odd = an_object({"a": {"type": "string", "format": "wish", "not": {"const": "b"}}})
    schemas.held(forced_call_schema([function("f", odd)], None, parallel=True))


def test_tools_are_not_changed() -> None:
    before = json.dumps(TOOLS)
    forced_call_schema(TOOLS, None, parallel=True)
    assert json.dumps(TOOLS) == before


def test_what_cannot_be_forced_is_told() -> None:
    with pytest.raises(
        InvalidRequest, match=r"tool_choice: there is no function fly; allowed: paint_it, wipe"
    ):
        forced_call_schema(TOOLS, "fly", parallel=False)
    with pytest.raises(InvalidRequest, match="tool_choice: there is no function to call; allowed: none"):
        forced_call_schema([], None, parallel=False)
    lost = function("f", an_object({"a": {"$ref": "#/$defs/Gone"}}))
    with pytest.raises(InvalidRequest, match="tools: the parameters of f refer to #/\\$defs/Gone"):
        forced_call_schema([lost], None, parallel=False)


def test_a_parameter_may_be_called_definitions() -> None:
    parameters = {"type": "object", "properties": {"definitions": {"type": "string"}}}
    schema = forced_call_schema(
        [{"type": "function", "function": {"name": "f", "parameters": parameters}}], "f", False
    )
    assert '"definitions": {"type": "string"}' in json.dumps(schema)
