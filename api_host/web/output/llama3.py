"""Calls as Llama 3 writes them: ``{"name": ..., "parameters": {...}}`` as the whole answer, several with ``;`` between.

A call may stand behind the control token ``<|python_tag|>``, as in Meta's model card of Llama 3.1. A list of calls in
the same place, which other models write, is read too.
"""

from __future__ import annotations

from api_host.web.output.arriving import Arriving, Reading
from api_host.web.output.call_object import calls
from api_host.web.output.parts import Parts

MARKER = "<|python_tag|>"


def read(source: Arriving, parts: Parts) -> Reading[None]:
    """Reads calls that nothing else marks, up to the last one. Raises NoCall."""
    yield from calls(source, parts, bare=True)
    while (yield from source.skip_space()) == ";":
        source.take(1)
        yield from calls(source, parts, bare=True)
