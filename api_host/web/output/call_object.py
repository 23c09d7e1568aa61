"""The JSON objects with which models call functions: ``{"name": ..., "arguments": {...}}``, alone or in a list.

Knows the keys that the families share (``parameters`` is Llama's word for ``arguments``), and no marker around them.
"""

from __future__ import annotations

from api_host.web.output.arriving import Arriving, Reading
from api_host.web.output.json_text import NoCall, escaped, expect, parsed, string, text_of_value, value
from api_host.web.output.parts import Parts

_ARGUMENTS = ("arguments", "parameters")
_OTHER_KEYS = ("id", "type", "index")


def calls(source: Arriving, parts: Parts, *, bare: bool = False) -> Reading[None]:
    """Reads one call, or a list of calls.

    ``bare``: nothing but its form tells that it is a call, so it must have arguments.

    Raises:
        NoCall: it is none; what is not settled belongs to no call.
    """
    if (yield from source.skip_space()) != "[":
        yield from call_object(source, parts, bare=bare)
        return
    source.take(1)
    while True:
        yield from call_object(source, parts, bare=bare)
        following = yield from source.skip_space()
        if following not in (",", "]"):
            return
        source.take(1)
        if following == "]":
            source.settle()
            return


def call_object(source: Arriving, parts: Parts, *, bare: bool = False) -> Reading[None]:
    """Reads one call. Its arguments go out as they arrive once its name is known. Raises as ``calls``."""
    yield from expect(source, "{")
    name: str | None = None
    arguments: str | None = None
    following = ""
    while following != "}":
        key = yield from string(source)
        yield from expect(source, ":")
        yield from source.skip_space()
        if key == "name":
            name = yield from string(source)
        elif key in _ARGUMENTS and name:
            yield from arguments_of(source, parts, name)
            yield from _rest_of_object(source)
            return
        elif key in _ARGUMENTS:
            arguments = yield from text_of_value(source)
        elif key in _OTHER_KEYS:
            yield from text_of_value(source)
        else:
            raise NoCall
        following = yield from _comma_or_brace(source)
    if not name or (bare and arguments is None):
        raise NoCall
    whole = _object_text(arguments or "{}")
    parts.call(name)
    parts.arguments(whole)
    source.settle()


def arguments_of(source: Arriving, parts: Parts, name: str) -> Reading[None]:
    """Reads the arguments of a call of ``name``: an object, in pieces; or an object written into a string, or null.

    Raises:
        NoCall: they do not begin as such. When they break later, the call ends there: its beginning is out already.
    """
    if (yield from source.peek()) != "{":
        whole = _object_text((yield from text_of_value(source)))
        parts.call(name)
        parts.arguments(whole)
        source.settle()
        return
    opening = source.take(1)
    while (character := (yield from source.peek())).isspace():
        opening += source.take(1)
    if character not in ('"', "}"):
        raise NoCall

    def show(piece: str) -> None:
        parts.arguments(piece)
        source.settle()

    parts.call(name)
    source.give_back_some(len(opening))
    try:
        yield from value(source, show)
    except NoCall:
        return


def _rest_of_object(source: Arriving) -> Reading[None]:
    """Reads what stands behind the arguments, if it is as it should be."""
    try:
        while (yield from _comma_or_brace(source)) != "}":
            yield from string(source)
            yield from expect(source, ":")
            yield from source.skip_space()
            yield from text_of_value(source)
    except NoCall:
        source.give_back()
    source.settle()


def _comma_or_brace(source: Arriving) -> Reading[str]:
    following = yield from source.skip_space()
    if following not in (",", "}"):
        raise NoCall
    return source.take(1)


def _object_text(text: str) -> str:
    """The text of an object that stands for itself, or in a string, or as null. Raises NoCall."""
    found = parsed(text)
    if found is None:
        return "{}"
    if isinstance(found, str):
        text, found = escaped(found), parsed(found)
    if not isinstance(found, dict):
        raise NoCall
    return text
