"""A model's text, as it streams, in its parts: text, reasoning and calls of tools.

Knows the order of things in an answer; each family's syntax of a call has a module of its own.
"""

from __future__ import annotations

from api_host.web.output import hermes, llama3, mistral, reasoning
from api_host.web.output.arriving import Arriving, Reading
from api_host.web.output.json_text import NoCall
from api_host.web.output.parts import Part, Parts

_READERS = {family.MARKER: family.read for family in (hermes, mistral, llama3)}
_MARKERS = tuple(_READERS)


class OutputParser:
    """Reads one choice of one answer; how its text is cut into pieces does not matter.

    Text goes out at once, but for a tail in which the marker of a call may begin. The arguments of a call go out as
    they arrive, as the model wrote them; a call that has not come as far as its arguments when it breaks, or when the
    text ends, is text. Whitespace around reasoning and behind calls is left out.

    Args:
        tools: whether calls are looked for; else what looks like one is text.
        reasoning: whether reasoning is told apart; False where a grammar holds the text to a form of its own.
        prompt: the rendered prompt, which may have opened the reasoning already.
        forced: the text is held by a grammar to the form of ``forced_call_schema``, from its first character on.
    """

    def __init__(
        self, *, tools: bool, reasoning: bool = True, prompt: str | None = None, forced: bool = False
    ) -> None:
        self._source = Arriving()
        self._parts = Parts()
        self._tools, self._reasoning, self._forced = tools, reasoning, forced
        self._prompt = prompt
        self._reading = self._answer()

    def feed(self, text: str) -> list[Part]:
        """The parts that are certain now."""
        self._source.add(text)
        next(self._reading, None)
        return self._parts.take()

    def finish(self) -> list[Part]:
        """What was held back, when no more text comes."""
        self._source.ended = True
        next(self._reading, None)
        return self._parts.take()

    def _answer(self) -> Reading[None]:
        if self._forced:
            # Behind a call there is nothing but the beginning of another one that was cut.
            if not (yield from self._read_calls(llama3.MARKER, marked=False)):
                yield from self._read_text(())
            return
        if self._reasoning:
            yield from reasoning.read(self._source, self._parts, reasoning.end_of_opened(self._prompt))
        if self._tools:
            yield from self._read_bare_calls()
        yield from self._read_text(_MARKERS if self._tools else ())

    def _read_bare_calls(self) -> Reading[None]:
        """Calls that no marker tells from text: only as the first thing in an answer."""
        first = yield from self._source.skip_space()
        is_marked = first == "[" and (yield from self._source.accepts(mistral.MARKER))
        self._source.give_back()
        if first in ("{", "[") and not is_marked:
            yield from self._read_calls(llama3.MARKER, marked=False)

    def _read_calls(self, marker: str, marked: bool = True) -> Reading[bool]:
        """Whether a call begins here; if none does, nothing has been read."""
        n_before = self._parts.n_calls
        try:
            self._source.take(len(marker) if marked else 0)
            yield from _READERS[marker](self._source, self._parts)
        except NoCall:
            self._source.give_back()
        return self._parts.n_calls > n_before

    def _read_text(self, markers: tuple[str, ...]) -> Reading[None]:
        """Text, and the calls in it. Whitespace that has nothing but calls around it is left out."""
        source, parts = self._source, self._parts
        before_call = bool(markers) or parts.n_calls > 0
        while (yield from source.skip_space() if before_call else source.peek()):
            n_blank = len(source.taken)
            n_text, marker = _text_before(source.unread, markers)
            if n_text:
                source.give_back()
                parts.text(source.take(n_blank + n_text))
                source.settle()
                before_call = False
            elif marker:
                before_call = yield from self._read_calls(marker)
                if not before_call:
                    parts.text(source.take(n_blank + len(marker)))
                    source.settle()
            elif not (yield from source.more()):
                break
        if source.unread or parts.n_calls == 0:
            source.give_back()
            parts.text(source.take(len(source.unread)))


def _text_before(unread: str, markers: tuple[str, ...]) -> tuple[int, str]:
    """How many characters are sure to stand before the next marker, and that marker if it is there."""
    found = [(at, marker) for marker in markers if (at := unread.find(marker)) >= 0]
    return min(found, default=(len(unread) - reasoning.n_held(unread, markers), ""))
