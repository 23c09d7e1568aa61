"""The terminal itself: whether somebody watches, what is drawn on, and how typing is kept out of the drawing."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console


def can_redraw(stream: TextIO) -> bool:
    """Whether ``stream`` is a terminal with a person before it: no pipe, no ``TERM=dumb``, no CI job."""
    return stream.isatty() and os.environ.get("TERM") != "dumb" and not os.environ.get("CI")


# rich's own colours shout; red is for what is wrong.
_CALM = {
    "bar.complete": "cyan",
    "bar.finished": "green",
    "bar.pulse": "cyan",
    "progress.percentage": "default",
    "progress.download": "default",
    "progress.data.speed": "default",
    "progress.remaining": "dim",
    "markdown.h1": "bold underline",
    "markdown.h2": "bold",
    "markdown.h3": "bold",
    "markdown.block_quote": "italic",
    "markdown.code": "cyan",
    "markdown.link_url": "underline",
}


def console_on(stream: TextIO) -> Console:
    """A console that draws on ``stream``; text is taken as it is, without markup, emoji codes or guesses."""
    from rich.console import Console
    from rich.theme import Theme

    return Console(file=stream, theme=Theme(_CALM), markup=False, emoji=False, highlight=False)


@contextlib.contextmanager
def keys_not_shown() -> Iterator[None]:
    """What is typed meanwhile does not appear amid what is drawn; the next line that is read begins with it."""
    termios = _termios()
    if termios is None or not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    silent = [*before]
    silent[3] &= ~termios.ECHO
    termios.tcsetattr(sys.stdin, termios.TCSANOW, silent)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSANOW, before)


def _termios() -> Any:
    try:
        import termios
    except ImportError:  # no Unix
        return None
    return termios
