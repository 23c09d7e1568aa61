"""Texts that are held to a JSON schema: what may come, what is refused, and that tokens are judged as texts are."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

import jsonschema
import numpy as np
import pytest

from api_host.engine.llama.json_schema import HeldToSchema, JsonSchemas
from api_host.engine.llama.model import LlamaModel
from api_host.errors import InvalidRequest
from api_host.models.demo import DEMO_MODEL_PATH

LABELS = ["👍", "a\nb", "C:\\dir", 'a "b"', "\t", "café", "|", "]"]
A, B = {"type": "integer", "minimum": 1, "maximum": 5}, {"enum": ["x", None]}
NODE = {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}, "additionalProperties": False}


def an_object(required: bool = True, **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties) if required else [],
        "additionalProperties": False,
    }


NAMED = {
    "type": "object",
    "propertyNames": {"$ref": "#/$defs/E"},
    "additionalProperties": {"type": "integer", "minimum": 1, "maximum": 5},
    "$defs": {"E": {"enum": ["x", "y", "a (b)-ü"]}},
}
BASE = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
OF_BASE = {"allOf": [{"$ref": "#/$defs/Base"}, {"properties": {"b": {"type": "string"}}, "required": ["b"]}]}
KINDS = [{"properties": {"kind": {"const": kind}}, "required": ["kind"]} for kind in "pq"]
N = {"n": {"type": "integer"}}


# What is allowed by each of these is short, or bounded.
SCHEMAS = [
    {"enum": LABELS},
    {"const": {"a": [1, None, True]}},
    an_object(**{label: {"const": label} for label in LABELS}),
    an_object(a=A, b=B),
    an_object(required=False, a=A, b=B),
    {"type": "number", "minimum": 0, "maximum": 1, "multipleOf": 0.25},
    {"type": ["string", "null"], "enum": ["a", "b", None]},
    {"type": ["integer", "null"], "minimum": 1, "maximum": 3},
    {"type": "string", "maxLength": 5},
    {"type": "string", "pattern": "^(ab|cd)$"},
    {"type": "string", "pattern": r"^\{\d{3}\.}$"},
    {"allOf": [{"$ref": "#/$defs/E"}], "$defs": {"E": {"enum": ["x", "y"]}}},
    an_object(a=A, b={"$ref": "#/properties/a"}),
    an_object(user={"$ref": "#/$defs/user"}, item={"$ref": "#/$defs/x/$defs/item"})
    | {"$defs": {"user": {"const": 1}, "item": {"const": 2}, "x": {"$defs": {"item": {"const": 3}}}}},
    {"$ref": "#/$defs/Node", "$defs": {"Node": NODE}},
    {"type": "array", "items": A, "minItems": 2, "maxItems": 3},
    {"type": "array", "prefixItems": [A, B], "items": False, "minItems": 2},
    {"oneOf": [{"const": "p"}, {"const": "q"}]},
    {"type": "string", "format": "date"},
    {"type": "string", "format": "password", "maxLength": 3},
]


@pytest.fixture(scope="module")
def model() -> Iterator[LlamaModel]:
    model = LlamaModel(str(DEMO_MODEL_PATH))
    yield model
    model.close()


@pytest.fixture(scope="module")
def schemas(model: LlamaModel) -> JsonSchemas:
    return JsonSchemas(model)


def drawn(held: HeldToSchema, model: LlamaModel, seed: int) -> str:
    """A text of tokens that are drawn from all that are allowed, each judged by itself as well."""
    dice = random.Random(seed)
    text = b""
    for _ in range(300):
        allowed = np.flatnonzero(np.isfinite(held.rule_out(np.zeros(model.n_vocab, np.float32))))
        assert len(allowed)
        token = int(dice.choice(allowed))
        assert held.allows(token)
        if model.is_eog(token):
            break
        held.accept(token)
        text += model.piece(token, show_control=True)
        if held.ended:
            break
    else:
        pytest.fail(f"the text has no end: {text!r}")
    return text.decode()


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: json.dumps(schema)[:60])
def test_whatever_is_allowed_fits_the_schema(schemas: JsonSchemas, model: LlamaModel, schema: dict[str, Any]):
    for seed in range(8):
        jsonschema.validate(json.loads(drawn(schemas.held(schema), model, seed)), schema)


def may_be(held: HeldToSchema, model: LlamaModel, text: str) -> bool:
    """Whether a text may be written, and then end."""
    for token in model.tokenize(text, add_special=False):
        if held.ended or not held.allows(token):
            return False
        held.accept(token)
    return held.ended or held.allows(model.eog_tokens[0])


@pytest.mark.parametrize(
    ("schema", "text", "allowed"),
    [
        ({"enum": LABELS}, json.dumps("C:\\dir"), True),
        ({"type": "string"}, '"a\nb"', False),
        ({"type": "string"}, '"a\\nb"', True),
        ({"type": "object"}, '{"a": [1, {"b": null}]}', True),
        ({"type": "object", "properties": {"a": A}}, "{}", True),
        ({"type": "object", "properties": {"a": A}}, '{"a": 1, "b": 2}', False),
        ({"type": "object", "properties": {}}, '{"a": 1}', False),
        ({"type": "object", "properties": {"a": A}, "additionalProperties": True}, '{"a": 1, "b": 2}', True),
        ({"type": "object", "properties": {"a": A}, "required": ["b"]}, '{"a": 1, "b": 2}', True),
        ({"type": "object", "properties": {"a": A}, "required": ["b"]}, '{"a": 1}', False),
        ({"allOf": [an_object(a=A) | {"additionalProperties": True}, {"required": ["a"]}]}, '{"a": 2}', True),
        ({"type": "object", "properties": {"a": A}}, '{"a":1}', True),
        ({"type": "object", "properties": {"a": A}}, '{ "a": 1}', False),
        ({"x-guidance": {"whitespace_flexible": True}, "properties": {"a": A}}, '{\n "a": 1}', True),
        ({"type": "array", "uniqueItems": True}, "[1, 1]", True),
        ({"type": "array", "contains": A, "x-guidance": {"lenient": True}}, "[7]", True),
        ({"type": "string", "format": ["date"]}, '"x"', True),
        ({"type": "string", "format": {}}, '"x"', True),
        ({"properties": {"a": A}}, "3", False),
        ({"properties": {"a": A}}, '{"a": 1}', True),
        ({"type": "number", "minimum": -3.4e38, "maximum": 3.4e38}, "1.5", True),
        (
            {"type": "object", "propertyNames": {"type": "string"}, "additionalProperties": A},
            '{"x": 1}',
            True,
        ),
        ({"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1}, "12", True),
        ({"type": "integer", "minimum": 3, "maximum": 2**63 - 1}, "2", False),
        ({"allOf": [{"properties": {"a": A}}]}, '{"a": 1, "b": 2}', False),
        (NAMED, '{"x": 1, "y": 2}', True),
        (NAMED, '{"a (b)-ü": 2}', True),
        (NAMED, '{"z": 1}', False),
        (NAMED, '{"x": 9}', False),
        ({}, "[3]", True),
    ],
)
def test_what_may_be_written(
    schemas: JsonSchemas, model: LlamaModel, schema: dict[str, Any], text: str, allowed: bool
):
    assert may_be(schemas.held(schema), model, text) is allowed


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ({"anyOf": [OF_BASE, {"type": "null"}]}, '{"a": "x", "b": "y"}'),
        ({"type": "array", "items": OF_BASE}, '[{"a": "x", "b": "y"}]'),
        ({"type": "object", "properties": {**N, "x": OF_BASE}}, '{"n": 1, "x": {"a": "x", "b": "y"}}'),
        ({"type": "object", "properties": N, "oneOf": KINDS}, '{"n": 1, "kind": "p"}'),
        ({"$ref": "#/$defs/Base", "properties": N}, '{"a": "x", "n": 1}'),
        ({"allOf": [BASE, {"anyOf": [{"properties": N}, {"properties": {"c": A}}]}]}, '{"a": "x", "n": 1}'),
    ],
)
def test_objects_that_are_put_together_keep_all_their_properties(
    schemas: JsonSchemas, model: LlamaModel, schema: dict[str, Any], text: str
):
    whole = {**schema, "$defs": {"Base": BASE}}
    jsonschema.validate(json.loads(text), whole)
    assert may_be(schemas.held(whole), model, text)


def test_a_banned_token_leaves_the_others_that_write_the_same(schemas: JsonSchemas, model: LlamaModel):
    held = schemas.held({"const": "capital of France"})
    text, n_others = b"", 0
    while not held.ended:
        logits = np.zeros(model.n_vocab, np.float32)
        likeliest = int(np.flatnonzero(np.isfinite(held.rule_out(logits)))[0])
        logits[likeliest] = -np.inf
        left = np.flatnonzero(np.isfinite(held.rule_out(logits)))
        n_others += len(left) > 0
        token = int(left[0]) if len(left) else likeliest
        assert held.allows(token)
        held.accept(token)
        text += model.piece(token)
    assert text == b'"capital of France"' and n_others


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        ({"type": "array", "contains": A}, 'contains.*"x-guidance"'),
        ({"const": 2**53 + 1}, "9007199254740993 is beyond"),
        ({"enum": ["a", -(2**60)]}, "beyond 2"),
        ({"type": "integer", "minimum": 2**60}, "beyond 2"),
        ({"allOf": [{"pattern": f"x{i}"} for i in range(13)]}, "more than 12 patterns"),
        ({"type": "string", "pattern": "^(?=a)b"}, "look-around"),
        ({"enum": []}, "no text can be held to it"),
        ({"$ref": "#/$defs/Gone"}, "Gone"),
        ({"type": "elephant"}, "elephant"),
        ({"x-guidance": {"lenient": 3}}, "no text can be held to it"),
        (json.loads('{"items":' * 300 + "{}" + "}" * 300), "nested too deeply"),
    ],
)
def test_what_nobody_can_be_held_to_is_refused_with_its_reason(
    schemas: JsonSchemas, schema: dict[str, Any], says: str
):
    with pytest.raises(InvalidRequest, match=f"parameters.json_schema: .*{says}"):
        schemas.held(schema)


@pytest.mark.parametrize("bound", [2_000, 65_535, 1_000_000_000])
@pytest.mark.parametrize("kind", [{"type": "string"}, {"type": "array", "items": {"type": "integer"}}])
def test_bounds_may_be_large(schemas: JsonSchemas, model: LlamaModel, kind: dict[str, Any], bound: int):
    most = {"maxLength": bound, "maxItems": bound}
    assert may_be(schemas.held({**kind, **most}), model, '"abc"' if kind["type"] == "string" else "[1, 2]")
    schemas.held({**kind, "minLength": bound, "minItems": bound})
