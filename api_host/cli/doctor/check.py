"""A check, what it finds, and how long it may look. Knows nothing of what is checked."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum


class Level(str, Enum):
    """How bad it is: ``broken`` is something that is needed."""

    OK = "ok"
    WARNING = "warning"
    BROKEN = "broken"


@dataclass(frozen=True)
class Finding:
    """What a check has found, in a line; the cure where it is not ok."""

    level: Level
    told: str
    cure: str = ""


def ok(told: str) -> Finding:
    return Finding(Level.OK, told)


def warning(told: str, cure: str) -> Finding:
    return Finding(Level.WARNING, told, cure)


def broken(told: str, cure: str) -> Finding:
    return Finding(Level.BROKEN, told, cure)


@dataclass(frozen=True)
class Check:
    """One look at the machine.

    ``look`` must not change anything. ``limit`` is in seconds; a look that takes longer is told as ``late``.
    """

    name: str
    look: Callable[[], Finding]
    limit: float
    late: Finding


def examine(checks: Iterable[Check]) -> Iterator[tuple[str, Finding]]:
    """Runs all checks at once; yields name and finding in their order, each within its limit."""
    begun = [_Look(check) for check in checks]
    for look in begun:
        yield look.check.name, look.finding()


class _Look:
    """A check under way. A thread that is late is left alone: it ends with the process."""

    def __init__(self, check: Check) -> None:
        self.check = check
        self._finding = check.late
        self._deadline = time.monotonic() + check.limit
        self._thread = threading.Thread(target=self._run, name=f"check {check.name}", daemon=True)
        self._thread.start()

    def finding(self) -> Finding:
        self._thread.join(max(0.0, self._deadline - time.monotonic()))
        return self._finding

    def _run(self) -> None:
        try:
            self._finding = self.check.look()
        except Exception as error:  # noqa: BLE001 (one check that fails must not take the others along)
            told = f"the check itself failed: {type(error).__name__}: {error}"
            self._finding = broken(told, "report this, with what is said above")
