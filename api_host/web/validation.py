"""JSON into typed objects at the door, with every wrong field told in a plain sentence.

Knows dataclasses and their bounds, no route and no dialect: the types and the limits that a sentence names are
read from the dataclass that is being filled.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import types
from collections.abc import Callable
from typing import Annotated, Any, Generic, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import pydantic_core
from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from pydantic import TypeAdapter, ValidationError

from api_host.errors import InvalidRequest

T = TypeVar("T")

_SHOWN_CHARACTERS = 60
_SIMPLE = {bool: "true or false", int: "a whole number", float: "a number", str: "text", Any: "anything"}
_PLURALS = {"a whole number": "whole numbers", "a number": "numbers", "text": "texts"}


class Shape(Generic[T]):
    """The shape of a JSON body: a dataclass, strictly read.

    Args:
        kind: a dataclass; its field types, bounds (``annotated_types``) and defaults are the rules. A field with
            the metadata ``hidden`` is accepted, but never suggested.
        across: the rules that no single type can tell, such as fields that need each other: takes the parsed
            object as it came, returns a sentence for each rule that is broken.
        strict: whether ``"1"`` is no number; ``take`` is never strict, for forms have nothing but texts.
    """

    def __init__(
        self,
        kind: type[T],
        across: Callable[[dict[str, Any]], list[str]] | None = None,
        *,
        strict: bool = True,
    ) -> None:
        self.kind = kind
        self._across = across
        self._strict = strict
        self._adapter: TypeAdapter[T] = TypeAdapter(kind)

    def schema(self) -> dict[str, Any]:
        """The JSON schema of such a body (2020-12), with its own ``$defs``."""
        return self._adapter.json_schema()

    def take(self, fields: dict[str, Any]) -> T:
        """The object that the fields of a form or of a query describe. Raises as ``read``."""
        return self._checked(lambda: self._adapter.validate_python(fields), lambda: fields)

    def read(self, body: bytes) -> T:
        """The object that ``body`` (JSON) describes.

        Raises:
            InvalidRequest: ``problems`` names everything that is wrong.
        """
        return self._checked(
            lambda: self._adapter.validate_json(body, strict=self._strict),
            lambda: pydantic_core.from_json(body),
        )

    def _checked(self, validate: Callable[[], T], parsed: Callable[[], dict[str, Any]]) -> T:
        problems: list[str] = []
        try:
            found = validate()
        except ValidationError as failure:
            problems = [_sentence(self.kind, error) for error in failure.errors(include_url=False)]
            if not failure.errors(include_url=False, include_input=False)[0]["loc"]:
                raise InvalidRequest(*problems) from None
        if self._across is not None:
            problems += self._across(parsed())
        if problems:
            raise InvalidRequest(*problems)
        return found


def _sentence(kind: Any, error: Any) -> str:
    if error["type"] == "json_invalid":
        return f"the body is not valid JSON: {error['ctx']['error']}"
    path = [str(part) for part in error["loc"] if part != "[key]"]
    if not path:
        return f"the body is {_what(error['input'])}; allowed: a JSON object"
    where = ".".join(path)
    if error["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        return _unknown_field(kind, path)
    if error["type"] in ("missing", "missing_argument"):
        return f"{where}: is missing; allowed: {describe(_type_at(kind, path))}"
    if error["loc"][-1] == "[key]":
        return f"{where}: this key is not a whole number; allowed: {describe(_type_at(kind, path[:-1]))}"
    wrong = _WRONG.get(error["type"], "is not allowed")
    return f"{where}: {shown(error['input'])} {wrong}; allowed: {describe(_type_at(kind, path))}"


_WRONG = {
    "less_than_equal": "is too large",
    "less_than": "is too large",
    "greater_than_equal": "is too small",
    "greater_than": "is too small",
    "too_long": "is too long",
    "string_too_long": "is too long",
    "too_short": "is too short",
    "string_too_short": "is too short",
    "int_type": "is not a whole number",
    "int_from_float": "is not a whole number",
    "int_parsing_size": "is too large",
    "int_parsing": "is not a whole number",
    "float_type": "is not a number",
    "float_parsing": "is not a number",
    "finite_number": "is not a finite number",
    "string_type": "is not text",
    "bool_type": "is not true or false",
    "bool_parsing": "is not true or false",
    "list_type": "is not a list",
    "dict_type": "is not an object",
    "dataclass_type": "is not an object",
    "literal_error": "is not known",
}


def _unknown_field(kind: Any, path: list[str]) -> str:
    fields = dataclasses.fields(_plain(_type_at(kind, path[:-1])))
    known = [field.name for field in fields if not field.metadata.get("hidden")]
    near = difflib.get_close_matches(path[-1], known, n=1)
    name = ".".join([*path[:-1], path[-1][:_SHOWN_CHARACTERS]])
    home = _place_of(kind, path[-1])
    if home is not None:
        return f"{name}: there is no such field here; it belongs at {home}"
    if near:
        return f"{name}: there is no such field; did you mean {near[0]!r}?"
    return f"{name}: there is no such field; allowed: {', '.join(known)}"


def _place_of(kind: Any, name: str) -> str | None:
    """Where in a body of this kind a field of this name stands, at the top or one level below; None for nowhere."""
    for field in dataclasses.fields(kind):
        if field.metadata.get("hidden"):
            continue
        if field.name == name:
            return name
        inner = _plain(_type_at(kind, [field.name]))
        if dataclasses.is_dataclass(inner) and any(
            deeper.name == name for deeper in dataclasses.fields(inner)
        ):
            return f"{field.name}.{name}"
    return None


def shown(value: Any) -> str:
    """A value as JSON, short enough for a sentence."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 3] + "..."


def _what(value: Any) -> str:
    names = {list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def _type_at(kind: Any, path: list[str]) -> Any:
    """The declared type of the field at ``path``, ``Annotated`` bounds included."""
    for part in path:
        plain = _plain(kind)
        if dataclasses.is_dataclass(plain):
            kind = get_type_hints(plain, include_extras=True)[part]
        else:
            kind = get_args(plain)[-1]
    return kind


def _plain(kind: Any) -> Any:
    """The type without its bounds and without ``| None``."""
    if get_origin(kind) is Annotated:
        return _plain(get_args(kind)[0])
    if get_origin(kind) in (Union, types.UnionType):
        return _plain(next(option for option in get_args(kind) if option is not type(None)))
    return kind


def describe(kind: Any) -> str:
    """What a field of this type may hold, in words: "a number above 0 up to 1"."""
    if get_origin(kind) in (Union, types.UnionType):
        options = ["null" if option is type(None) else describe(option) for option in get_args(kind)]
        return " or ".join(options)
    bounds = kind.__metadata__ if get_origin(kind) is Annotated else ()
    plain = get_args(kind)[0] if bounds else kind
    if get_origin(plain) is list:
        return _describe_list(plain, bounds)
    if get_origin(plain) is dict:
        key, value = (describe(part) for part in get_args(plain))
        return f"an object{_length(bounds, 'entries')} of {_PLURALS.get(key, key)} to {_plural(value)}"
    if get_origin(plain) is Literal:
        return ", ".join(str(option) for option in get_args(plain))
    return _SIMPLE.get(plain, "an object") + _range(bounds) + _length(bounds, "characters")


def _describe_list(plain: Any, bounds: tuple[Any, ...]) -> str:
    item = describe(get_args(plain)[0])
    return f"a list{_length(bounds, 'items')}, each {item}"


def _plural(words: str) -> str:
    for singular, plural in _PLURALS.items():
        if words.startswith(singular):
            return plural + words[len(singular) :]
    return words


def _range(bounds: tuple[Any, ...]) -> str:
    text = ""
    for bound in bounds:
        if isinstance(bound, Ge):
            text += f" from {bound.ge}"
        elif isinstance(bound, Gt):
            text += f" above {bound.gt}"
        elif isinstance(bound, Le):
            text += f" up to {bound.le}"
        elif isinstance(bound, Lt):
            text += f" below {bound.lt}"
    return text


def _length(bounds: tuple[Any, ...], unit: str) -> str:
    least = [f"at least {bound.min_length}" for bound in bounds if isinstance(bound, MinLen)]
    most = [f"at most {bound.max_length}" for bound in bounds if isinstance(bound, MaxLen)]
    return f" of {' and '.join([*least, *most])} {unit}" if least or most else ""
