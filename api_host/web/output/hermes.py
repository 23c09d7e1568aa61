"""Calls as Hermes and Qwen write them: ``<tool_call>{"name": ..., "arguments": {...}}</tool_call>``, one after another.

The form is that of NousResearch's Hermes-Function-Calling. A closing tag that is missing does not matter.
"""

from __future__ import annotations

from api_host.web.output.arriving import Arriving, Reading
from api_host.web.output.call_object import calls
from api_host.web.output.parts import Parts

MARKER = "<tool_call>"
_END = "</tool_call>"


def read(source: Arriving, parts: Parts) -> Reading[None]:
    """Reads what follows ``MARKER``. Raises NoCall."""
    following = "{"
    while following and following in "{[":
        yield from calls(source, parts)
        following = yield from source.skip_space()
    yield from source.accepts(_END)
    source.settle()
