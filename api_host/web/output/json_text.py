"""JSON read as it arrives: where a value ends, and its text; what it means is left to the reader of a call.

Knows the brackets, strings and scalars of RFC 8259, and no key. Models break lines within strings and write halves of
surrogate pairs, which readers of JSON refuse: both are read, and mended.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from api_host.web.output.arriving import Arriving, Reading

_STRING_RUN = re.compile(r'[^"\\]+')
_OUTSIDE_RUN = re.compile(r"[\s\w,:.+-]+", re.ASCII)
_SCALAR_RUN = re.compile(r"[\w.+-]+", re.ASCII)
_CLOSING = {"{": "}", "[": "]"}
_WHOLE_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x1f]")
_ESCAPE = re.compile(
    r"\\(?:ud[89ab][\da-f]{2}\\ud[c-f][\da-f]{2}|(ud[89a-f][\da-f]{2})|.)", re.DOTALL | re.IGNORECASE
)
# What may still become an escape, or a pair of them.
_HALF_ESCAPE = re.compile(
    r"\\(?:u(?:[\da-f]{0,3}|d[89ab][\da-f]{2}(?:\\(?:u(?:d(?:[c-f][\da-f]?)?)?)?)?)?)?", re.IGNORECASE
)


class NoCall(Exception):
    """What is being read is no call of a tool: it is text."""


def expect(source: Arriving, character: str) -> Reading[None]:
    """Reads whitespace and one character. Raises NoCall when it is another one."""
    if (yield from source.skip_space()) != character:
        raise NoCall
    source.take(1)


def text_of_value(source: Arriving) -> Reading[str]:
    """Reads one JSON value and returns its text. Raises NoCall when it is none, or ends too early."""
    pieces: list[str] = []
    yield from value(source, pieces.append)
    return "".join(pieces)


def string(source: Arriving) -> Reading[str]:
    """Reads whitespace and a JSON string, and returns what it says. Raises NoCall."""
    if (yield from source.skip_space()) != '"':
        raise NoCall
    return str(parsed((yield from text_of_value(source))))


def parsed(text: str) -> Any:
    """The value of a JSON text; line breaks in strings are allowed, half a surrogate pair is U+FFFD.

    Raises:
        NoCall: it is none, or is nested too deeply to be read.
    """
    try:
        return json.loads(mended(text), strict=False)
    except (ValueError, RecursionError):
        raise NoCall from None


def object_of(text: str) -> dict[str, Any] | None:
    """The object that a JSON text is, read as ``parsed`` does; an empty text is an empty one, None is none."""
    try:
        found = parsed(text) if text.strip() else {}
    except NoCall:
        return None
    return found if isinstance(found, dict) else None


def mended(text: str) -> str:
    """The JSON text with the escape of U+FFFD for each half of a surrogate pair, which no other text can hold."""
    return _ESCAPE.sub(lambda escape: r"\ufffd" if escape[1] else escape[0], text)


def escaped(text: str) -> str:
    """The JSON text with the line breaks within its strings as escapes, for readers who are strict."""
    return _WHOLE_STRING.sub(lambda string: _escape(string[0]), text)


def _escape(piece: str) -> str:
    return _CONTROL.sub(lambda control: json.dumps(control[0])[1:-1], piece)


def value(source: Arriving, show: Callable[[str], None]) -> Reading[None]:
    """Reads one JSON value, showing its text, ``escaped``, in pieces as they arrive. Raises NoCall where it breaks."""
    open_brackets: list[str] = []
    while True:
        character = yield from source.peek()
        if character == '"':
            yield from _string_text(source, show)
        elif character in _CLOSING:
            open_brackets.append(_CLOSING[character])
            show(source.take(1))
        elif open_brackets and character == open_brackets[-1]:
            open_brackets.pop()
            show(source.take(1))
        elif open_brackets:
            show(source.take(_run(_OUTSIDE_RUN, source.unread)))
        else:
            yield from _scalar(source, show)
        if not open_brackets:
            return


def _string_text(source: Arriving, show: Callable[[str], None]) -> Reading[None]:
    show(source.take(1))
    while (character := (yield from source.peek())) != '"':
        if character == "\\":
            yield from _escape_text(source, show)
        else:
            show(_escape(source.take(_run(_STRING_RUN, source.unread))))
    show(source.take(1))


def _escape_text(source: Arriving, show: Callable[[str], None]) -> Reading[None]:
    """Shows an escape once it is whole, ``mended``; at the end of the text, what there is of it."""
    while _HALF_ESCAPE.fullmatch(source.unread[:12]) and (yield from source.more()):
        pass
    escape = _ESCAPE.match(source.unread[:12])
    show(mended(source.take(escape.end() if escape else 1)))


def _scalar(source: Arriving, show: Callable[[str], None]) -> Reading[None]:
    show(source.take(_run(_SCALAR_RUN, source.unread)))
    while _SCALAR_RUN.match((yield from source.peek())):
        show(source.take(_run(_SCALAR_RUN, source.unread)))


def _run(pattern: re.Pattern[str], text: str) -> int:
    found = pattern.match(text)
    if found is None:
        raise NoCall
    return found.end()
