"""JSON schemas as texts are held to them: what is a remark goes, what a writer took for granted is written down.

Knows JSON schema, nothing of tokens.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from api_host.errors import InvalidRequest
from api_host.generation import AS_FAR_AS_IT_GOES

# Any other format is a remark for readers, as JSON schema has it.
_FORMATS = ("date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri")

# Where in a schema there are further ones: by name, in a list, or one.
_NAMED = ("properties", "patternProperties", "$defs", "definitions")
_LISTED = ("anyOf", "oneOf", "allOf", "prefixItems", "items")
_SINGLE = ("items", "additionalProperties", "additionalItems")
_COMBINED = ("allOf", "anyOf", "oneOf", "$ref")
# An object that says more than its properties is left as open as it is.
_OPEN = ("additionalProperties", "patternProperties", "unevaluatedProperties", *_COMBINED)

# Whole numbers beyond are rounded where numbers are read as doubles. A bound as far out bounds nothing.
_EXACT = 2**53
_LEAST, _MOST = ("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")
# Whether several patterns have a text in common takes twice as long to find out with each further one.
_MOST_PATTERNS = 12


def forms(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The schema in the ways in which it may be held to, the strictest first.

    In that one objects have the properties that are named and no others, unless they say otherwise or are put together
    of several schemas. In the last one the parts that need only be held to as far as it goes are any objects.

    Raises:
        InvalidRequest: whole numbers that cannot be told exactly, or too many patterns for one text.
    """
    if not _combines(schema):
        yield _prepared(schema, schema, closed=True)
    yield _prepared(schema, schema, closed=False)
    if (loose := _loosened(schema)) != schema:
        yield _prepared(loose, loose, closed=False)


def _below(schema: Any) -> Iterator[Any]:
    """The schemas within one, without those within these."""
    for key, item in schema.items() if isinstance(schema, dict) else ():
        if key in _NAMED and isinstance(item, dict):
            yield from item.values()
        elif key in _LISTED and isinstance(item, list):
            yield from item
        elif key in _SINGLE and isinstance(item, dict):
            yield item


def _combines(schema: Any) -> bool:
    """Whether objects in it are put together of several schemas: closed, each would rule out the others' properties."""
    if not isinstance(schema, dict):
        return False
    properties, required = schema.get("properties"), schema.get("required")
    parts = schema.get("allOf", [])
    # One part alone is a way to write a reference beside a description.
    if not isinstance(parts, list) or len(parts) > 1:
        return True
    if isinstance(properties, dict):
        if any(key in schema for key in _COMBINED):
            return True
        if isinstance(required, list) and not set(map(str, required)) <= properties.keys():
            return True
    return any(map(_combines, _below(schema)))


def _prepared(schema: Any, root: dict[str, Any], closed: bool) -> Any:
    if not isinstance(schema, dict):
        return schema
    found = {key: item for key, item in schema.items() if not _is_remark(key, item)}
    _check(found)
    for key, item in found.items():
        if key in _NAMED and isinstance(item, dict):
            found[key] = {name: _prepared(one, root, closed) for name, one in item.items()}
        elif key in _LISTED and isinstance(item, list):
            found[key] = [_prepared(one, root, closed) for one in item]
        elif key in _SINGLE:
            found[key] = _prepared(item, root, closed)
    properties = isinstance(found.get("properties"), dict)
    if "propertyNames" in found and not properties:
        return _by_patterns(found, root)
    if properties and not any(key in found for key in ("type", "enum", "const", *_COMBINED)):
        found["type"] = "object"
    if closed and properties and not any(key in found for key in _OPEN):
        found["additionalProperties"] = False
    return found


def _is_remark(key: str, item: Any) -> bool:
    """Whether a keyword tells a reader something, and rules out no text, or too little to be refused for it."""
    if key == "format":
        return item not in _FORMATS
    if key == "uniqueItems":
        return True
    if key == "propertyNames":
        return item in (True, {}, {"type": "string"})
    if isinstance(item, int | float):
        return (key in _LEAST and item < -_EXACT) or (key in _MOST and item > _EXACT)
    return False


def _by_patterns(schema: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    """An object whose names are from a list, or of a pattern, said by ``patternProperties``."""
    names = schema["propertyNames"]
    if isinstance(names, dict) and str(names.get("$ref")).startswith("#/$defs/"):
        defined = root.get("$defs")
        names = defined.get(names["$ref"].removeprefix("#/$defs/")) if isinstance(defined, dict) else None
    if not isinstance(names, dict):
        return schema
    listed = names.get("enum", [names["const"]] if "const" in names else None)
    pattern = names.get("pattern")
    if isinstance(listed, list):
        pattern = f"^(?:{'|'.join(re.escape(str(name)) for name in listed)})$"
    if not isinstance(pattern, str):
        return schema
    rest = {key: item for key, item in schema.items() if key not in ("propertyNames", "additionalProperties")}
    values = schema.get("additionalProperties", True)
    return {**rest, "patternProperties": {pattern: values}, "additionalProperties": False}


def _check(schema: dict[str, Any]) -> None:
    """Raises InvalidRequest for what would be told wrong, or take for ever."""
    listed = schema.get("enum")
    said = [schema.get("const"), *(schema.get(key) for key in (*_LEAST, *_MOST))]
    said += listed if isinstance(listed, list) else []
    for number in said:
        if isinstance(number, int) and abs(number) > _EXACT:
            raise InvalidRequest(
                f"parameters.json_schema: {str(number)[:40]} is beyond 2**53, and whole numbers as large are not told "
                "exactly; have it written as a text"
            )
    if "allOf" in schema and _n_patterns(schema["allOf"]) > _MOST_PATTERNS:
        raise InvalidRequest(
            f"parameters.json_schema: allOf puts together more than {_MOST_PATTERNS} patterns; write them as fewer"
        )


def _n_patterns(schema: Any) -> int:
    if isinstance(schema, list):
        return sum(map(_n_patterns, schema))
    own = int(isinstance(schema, dict) and "pattern" in schema)
    return own + sum(map(_n_patterns, _below(schema)))


def _loosened(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_loosened(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get(AS_FAR_AS_IT_GOES) is True:
        return {"type": "object"}
    return {key: _loosened(item) for key, item in schema.items()}
