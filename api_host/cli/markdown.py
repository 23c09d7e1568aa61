"""Text that grows, shown as Markdown: what is whole stays above, only the last block is drawn again.

Knows nothing of models. HTML is shown as it is written, addresses stand beside their links (a terminal's own links
could hide where they lead), and nothing of the text can steer the terminal.
"""

from __future__ import annotations

import itertools

from markdown_it import MarkdownIt
from markdown_it.token import Token
from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.markdown import Heading, Markdown
from rich.segment import Segment, SegmentLines
from rich.text import Text

from api_host.cli.printable import printable

REDRAWN_A_SECOND = 8
_CODE_THEME = "ansi_dark"


def _parse(text: str) -> list[Token]:
    parser = MarkdownIt("commonmark", {"html": False}).enable("strikethrough").enable("table")
    return parser.parse(text)


class _Heading(Heading):
    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        text = self.text.copy()  # to the left, and in no box, as some releases of rich would have it
        text.justify = "left"
        yield text


class _Markdown(Markdown):
    elements = {**Markdown.elements, "heading_open": _Heading}

    def __init__(self, text: str) -> None:
        super().__init__("", code_theme=_CODE_THEME, hyperlinks=False)
        self.parsed = _parse(text)


class MarkdownView:
    """Draws an answer while it comes, on a terminal. Enter it, ``add`` pieces, leave it.

    Args:
        console: where.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._tail = _Tail()
        self._live = Live(
            self._tail,
            console=console,
            transient=True,
            refresh_per_second=REDRAWN_A_SECOND,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def __enter__(self) -> MarkdownView:
        self._live.__enter__()
        return self

    def __exit__(self, *reason: object) -> None:
        rest, self._tail.text, self._tail.note = self._tail.text, "", ""
        self._live.__exit__(None, None, None)
        self._settle([rest])

    def note(self, text: str) -> None:
        """A line that stands there until the first text comes."""
        self._tail.note = printable(text)

    def add(self, text: str) -> None:
        """The next piece."""
        self._tail.note = ""
        *whole, last = _blocks(self._tail.text + printable(text))
        # First, because printing draws what is left of the tail below.
        self._tail.text = last
        self._settle(whole)

    def _settle(self, blocks: list[str]) -> None:
        """Prints what will not change any more."""
        for block in blocks:
            if block.strip():
                lines = _lines(self._console, self._console.options, block)
                self._console.print(SegmentLines([*self._tail.gap, *lines], new_lines=True), end="")
                self._tail.gap = [[]]


class _Tail:
    """The block that still grows, its last lines where it is higher than the terminal; below a gap, if there is one."""

    def __init__(self) -> None:
        self.text = ""
        self.note = ""
        self.gap: list[list[Segment]] = []

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self.note:
            yield Text(self.note, style="dim", no_wrap=True, overflow="ellipsis")
        if self.text.strip():
            lines = [*self.gap, *_lines(console, options, self.text)]
            yield SegmentLines(lines[-max(1, console.size.height - 2) :], new_lines=True)


def _blocks(text: str) -> list[str]:
    """The text, cut where a block of the outermost level begins; all but the last will not change any more."""
    starts = [token.map[0] for token in _parse(text) if token.level == 0 and token.map]
    lines = text.split("\n")
    cuts = [0, *starts[1:], len(lines)]
    pieces = ["\n".join(lines[start:end]) for start, end in itertools.pairwise(cuts)]
    return [f"{piece}\n" for piece in pieces[:-1]] + pieces[-1:]


def _lines(console: Console, options: ConsoleOptions, block: str) -> list[list[Segment]]:
    """A block as lines, without the empty ones that rich puts around it."""
    lines = console.render_lines(_Markdown(block), options.update(height=None), pad=False)
    filled = [number for number, line in enumerate(lines) if any(segment.text.strip() for segment in line)]
    return lines[filled[0] : filled[-1] + 1] if filled else []
