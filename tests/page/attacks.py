"""Outputs of a model that would harm a page which trusts them, each under a name.

Most stand in ``attacks.txt``, each below a line ``=== name``. ``canary()`` is what an attack runs when it can,
``{trap}`` (an address) and ``{host}`` (the same without its scheme) another origin where every visit is noted,
``{U+202E}`` a character that an editor would hide. The tricks are the well-known ones: evading filters, markup that
changes when it is parsed again, form fields and ids that stand in for the page's own variables, pictures that carry a
conversation away.
"""

from __future__ import annotations

import random
import re
from pathlib import Path

_LARGE = {
    "deep nesting": "<div>" * 600 + "<img src=x onerror=canary(1)>" + "> " * 300 + "\n" + "- " * 200,
    "deep inline nesting": "[" * 500 + "*" * 501 + "_" * 300 + "<b>" * 500 + "<img src=x onerror=canary(1)>",
    "long words": "a" * 3000 + f" <b>{'w' * 500}</b>\n\n| {'x' * 400} | y |\n|--|--|\n| z | {'v' * 400} |",
}


def _read() -> dict[str, str]:
    text = Path(__file__).with_suffix(".txt").read_text()
    sections = (section.partition("\n") for section in text.split("\n=== ")[1:])
    return {name: content.strip("\n") for name, _, content in sections}


ATTACKS = {**_read(), **_LARGE}


def attack(name: str, trap: str) -> str:
    """The output ``name`` against a trap at this address."""
    text = ATTACKS[name].replace("{trap}", trap).replace("{host}", trap.removeprefix("http://"))
    return re.sub(r"\{U\+([0-9A-F]+)\}", lambda mark: chr(int(mark[1], 16)), text)


def in_odd_pieces(text: str) -> list[str]:
    """The text as a stream might bring it: cut anywhere, into about 25 pieces, the same ones each time."""
    draw = random.Random(text)
    longest = max(5, len(text) // 12)
    pieces = []
    while text:
        length = draw.randint(1, longest)
        pieces.append(text[:length])
        text = text[length:]
    return pieces
