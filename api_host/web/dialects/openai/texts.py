"""``prompt`` and ``input``: one text or several, each as text or as tokens.

Knows the four shapes that OpenAI's reference gives for them, and no route.
"""

from __future__ import annotations

from typing import Any

from api_host.web.validation import shown

Text = str | list[int]

TEXTS_SCHEMA = {
    "anyOf": [
        {"type": "string", "minLength": 1},
        {"type": "array", "minItems": 1, "items": {"type": "string", "minLength": 1}},
        {"type": "array", "minItems": 1, "items": {"type": "integer", "minimum": 0}},
        {
            "type": "array",
            "minItems": 1,
            "items": {"type": "array", "items": {"type": "integer", "minimum": 0}},
        },
    ]
}
_MOST_TOKEN = 2**31 - 1
_ALLOWED = "a text, a list of token numbers, or a list of either"


def texts(value: Any) -> list[Text]:
    """The texts in a value in which ``texts_problems`` found nothing."""
    return [value] if isinstance(value, str) or _is_token(value[0]) else value


def texts_problems(value: Any, name: str, most: int) -> list[str]:
    """What is wrong with the field ``name``, which may hold up to ``most`` texts."""
    if value is None:
        return [f"{name}: is missing; allowed: {_ALLOWED}"]
    if isinstance(value, str) or (isinstance(value, list) and value and _is_token(value[0])):
        return _text_problems(value, name)
    if not isinstance(value, list):
        return [f"{name}: {shown(value)} is neither text nor a list; allowed: {_ALLOWED}"]
    if not 1 <= len(value) <= most:
        return [f"{name}: {len(value)} texts; allowed: 1 to {most} in a request"]
    return [problem for i, text in enumerate(value) for problem in _text_problems(text, f"{name}.{i}")]


def _text_problems(text: Any, where: str) -> list[str]:
    if text in ("", []):
        return [f"{where}: the text is empty; allowed: at least one character or token"]
    if isinstance(text, list):
        wrong = [token for token in text if not _is_token(token)]
        return [f"{where}: {shown(wrong[0])} is no token; allowed: whole numbers from 0 up"] if wrong else []
    return [] if isinstance(text, str) else [f"{where}: {shown(text)} is no text; allowed: {_ALLOWED}"]


def _is_token(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _MOST_TOKEN
