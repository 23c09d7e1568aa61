"""What a model thinks before it answers: the tags around it, one pair for each family of models.

Knows the start of an answer alone: a tag further on is text like any other.
"""

from __future__ import annotations

from api_host.web.output.arriving import Arriving, Reading
from api_host.web.output.parts import Parts

# DeepSeek-R1, Qwen3 and most others; Magistral (2507 and later); Gemma 4.
_TAGS = (("<think>", "</think>"), ("[THINK]", "[/THINK]"), ("<|channel>thought", "<channel|>"))


def end_of_opened(prompt: str | None) -> str | None:
    """The closing tag that an answer begins under, when its prompt's template has written the opening one."""
    begun = (prompt or "").rstrip()
    return next((closing for opening, closing in _TAGS if begun.endswith(opening)), None)


def read(source: Arriving, parts: Parts, closing: str | None) -> Reading[None]:
    """Reads what stands before the answer, up to ``closing`` where it has been opened; trimmed of whitespace."""
    opened = closing is not None
    yield from source.skip_space()
    for opening, its_closing in _TAGS:
        if (yield from source.accepts(opening)):
            opened, closing = True, its_closing
            break
    if not opened or closing is None:
        source.give_back()
        return
    yield from source.skip_space()
    source.settle()
    while (found := source.unread.find(closing)) < 0:
        n_sure = len(source.unread) - n_held(source.unread, (closing,))
        sure = source.unread[:n_sure].rstrip()
        parts.reasoning(source.take(len(sure)))
        source.settle()
        if not (yield from source.more()):
            parts.reasoning(source.take(len(source.unread)))
            source.settle()
            return
    parts.reasoning(source.take(found).rstrip())
    source.take(len(closing))
    yield from source.skip_space()
    source.settle()


def n_held(text: str, markers: tuple[str, ...]) -> int:
    """How many characters at the end of a text may be the beginning of a marker."""
    longest = max(map(len, markers), default=1) - 1
    for n in range(min(longest, len(text)), 0, -1):
        if any(marker.startswith(text[-n:]) for marker in markers):
            return n
    return 0
