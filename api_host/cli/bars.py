"""How far a download, a conversion or a load is: a bar at a terminal, a line for each tenth elsewhere.

Knows bytes only; asks nobody.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from api_host.cli.printable import printable
from api_host.cli.screen import can_redraw, console_on
from api_host.cli.sizes import size_text

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from api_host_client import Model

_REDRAWN_A_SECOND = 4
_RATE_OVER_S = 10.0
_TENTHS = 10


class Bar:
    """One bar on stderr, while it is entered; it appears with the first ``show``.

    Args:
        quiet: show nothing.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._redraws = can_redraw(sys.stderr)
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._told: tuple[str, int] | None = None
        self._loads = False

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *reason: object) -> None:
        self.close()

    def show(self, name: str, done: int = 0, total: int = 0) -> None:
        """``done`` of ``total`` bytes of ``name``; a ``total`` of 0 is not known yet."""
        if self._quiet:
            return
        name = printable(name)
        if self._redraws:
            self._draw(name, done, total)
        else:
            self._tell(name, done, total)

    def show_model(self, model: Model) -> None:
        """How far a host is with a model: its download, then that it loads."""
        if model.status == "downloading" and model.progress is not None:
            self.show(
                model.progress.file or model.name, model.progress.bytes_done, model.progress.bytes_total
            )
        elif model.status == "loading" and not self._quiet and not self._loads:
            self._loads = True
            self.close()
            print(f"Loading {printable(model.name)} ...", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Leaves the bar as it is; the next ``show`` begins a new one."""
        if self._progress is not None:
            self._progress.stop()
        self._progress = self._task = self._told = None

    def _draw(self, name: str, done: int, total: int) -> None:
        if self._progress is None:
            self._progress = _progress()
            self._progress.start()
        if self._task is None:
            # What was there before counts as done, not as fast.
            self._task = self._progress.add_task(name, total=total or None, completed=done)
        self._progress.update(self._task, description=name, total=total or None, completed=done)

    def _tell(self, name: str, done: int, total: int) -> None:
        tenth = done * _TENTHS // total if total else 0
        if self._told == (name, tenth):
            return
        self._told = (name, tenth)
        amount = f"{tenth * 10:3} %, {size_text(done)} of {size_text(total)}" if total else size_text(done)
        print(f"{name}: {amount}", file=sys.stderr, flush=True)


def _progress() -> Progress:
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )
    from rich.table import Column

    name = TextColumn(
        "{task.description}", markup=False, table_column=Column(overflow="ellipsis", no_wrap=True, ratio=1)
    )
    return Progress(
        name,
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(compact=True),
        console=console_on(sys.stderr),
        refresh_per_second=_REDRAWN_A_SECOND,
        speed_estimate_period=_RATE_OVER_S,
        expand=True,
    )
