"""Calls as Mistral writes them: ``[TOOL_CALLS][{"name": ..., "arguments": {...}}]`` or ``[TOOL_CALLS]name[ARGS]{...}``.

The first is that of mistral-common's tokenizers v2 to v7, the second of v11 and later, where several calls repeat the
marker, and where ``[CALL_ID]`` and an id may stand behind the name.
"""

from __future__ import annotations

import re

from api_host.web.output.arriving import Arriving, Reading
from api_host.web.output.call_object import arguments_of, calls
from api_host.web.output.json_text import NoCall
from api_host.web.output.parts import Parts

MARKER = "[TOOL_CALLS]"
_NAME = re.compile(r"[\w.-]", re.ASCII)


def read(source: Arriving, parts: Parts) -> Reading[None]:
    """Reads what follows ``MARKER``. Raises NoCall."""
    if (yield from source.skip_space()) in ("[", "{"):
        yield from calls(source, parts)
        return
    name = yield from _word(source)
    if (yield from source.accepts("[CALL_ID]")):
        yield from _word(source)
    yield from source.accepts("[ARGS]")
    if (yield from source.skip_space()) != "{":
        raise NoCall
    yield from arguments_of(source, parts, name)


def _word(source: Arriving) -> Reading[str]:
    word = ""
    while _NAME.match((yield from source.peek())):
        word += source.take(1)
    if not word:
        raise NoCall
    return word
