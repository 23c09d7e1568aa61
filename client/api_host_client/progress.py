"""Shows how far a model is: a bar that redraws itself, or a line for each change. Asks no host.

The bar is for a terminal (on stderr) and for a notebook's cell; lines are for logs and pipes.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from typing import Protocol, TextIO

from api_host_client.types import Model, Progress

_BAR_CELLS = 24
_LINE_EVERY = 0.1
_UNITS = ("B", "kB", "MB", "GB", "TB")


class Display(Protocol):
    """Is shown a model again and again until it is loaded or has failed, then closed."""

    def show(self, model: Model) -> None: ...

    def close(self) -> None: ...


def display_for(progress: bool | Callable[[Model], None]) -> Display:
    """True: a bar where one can be redrawn, lines elsewhere; False: nothing; a function: called with each state."""
    if callable(progress):
        return Called(progress)
    if not progress:
        return Called(lambda model: None)
    if _in_notebook():
        return Bar(sys.stdout, width=100)
    return Bar(sys.stderr) if sys.stderr.isatty() else Lines(sys.stderr)


class Called:
    """Hands each state to a function."""

    def __init__(self, tell: Callable[[Model], None]) -> None:
        self._tell = tell

    def show(self, model: Model) -> None:
        self._tell(model)

    def close(self) -> None:
        pass


class Bar:
    """One line, redrawn: ``name  downloading  [#####---]  42 %  1.2/2.8 GB  35 MB/s``."""

    def __init__(self, out: TextIO, width: int | None = None) -> None:
        self._out = out
        self._width = width
        self._drawn = 0
        self._rate = Rate()

    def show(self, model: Model) -> None:
        line = f"{_short(model.name)}  {model.status}"
        if model.progress and model.status == "downloading":
            line += f"  {_bar(model.progress)}{amounts(model.progress)}{self._rate.text(model.progress)}"
        width = self._width or shutil.get_terminal_size().columns
        line = line[: width - 1]
        self._out.write("\r" + line.ljust(self._drawn))
        self._out.flush()
        self._drawn = len(line)

    def close(self) -> None:
        self._out.write("\n")
        self._out.flush()


class Lines:
    """A line for each change of status, and for each tenth of a download."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._shown: tuple[str, str, int] | None = None

    def show(self, model: Model) -> None:
        fraction = model.progress.fraction if model.progress else None
        tenth = int((fraction or 0.0) / _LINE_EVERY)
        file = model.progress.file if model.progress else ""
        if (model.status, file, tenth) == self._shown:
            return
        self._shown = (model.status, file, tenth)
        known = amounts(model.progress) if model.progress and model.status == "downloading" else ""
        self._out.write(f"{model.name}: {model.status}{known}\n")
        self._out.flush()

    def close(self) -> None:
        pass


class Rate:
    """Bytes a second of one file since it was first shown."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._file: str | None = None
        self._start = (0.0, 0)

    def text(self, progress: Progress) -> str:
        if progress.file != self._file:
            self._file = progress.file
            self._start = (self._now(), progress.bytes_done)
        seconds = self._now() - self._start[0]
        done = progress.bytes_done - self._start[1]
        return f"  {_size(done / seconds)}/s" if seconds > 0 and done > 0 else ""


def amounts(progress: Progress) -> str:
    """``  42 %  1.2/2.8 GB``, or the bytes alone while the size is not known."""
    if progress.fraction is None:
        return f"  {_size(progress.bytes_done)}"
    return f"  {progress.fraction:.0%}  {_size(progress.bytes_done)} of {_size(progress.bytes_total)}"


def _bar(progress: Progress) -> str:
    full = int((progress.fraction or 0.0) * _BAR_CELLS)
    return f"[{'#' * full}{'-' * (_BAR_CELLS - full)}]"


def _size(n_bytes: float) -> str:
    for unit in _UNITS[:-1]:
        if n_bytes < 1000:
            return f"{n_bytes:.0f} {unit}" if unit == "B" else f"{n_bytes:.1f} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.1f} {_UNITS[-1]}"


def _short(name: str, most: int = 32) -> str:
    return name if len(name) <= most else "..." + name[3 - most :]


def _in_notebook() -> bool:
    """Whether a kernel runs this: it imports IPython before any cell, so nothing is imported here."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(shell, "kernel")
