"""What everything in a tunnel waits on: one condition, so that a stop interrupts every wait at once.

Knows nothing of processes or URLs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable


class Stopped(Exception):
    """The tunnel is being stopped; whoever waits gives up and cleans up."""


class Wakeup:
    """A condition and a flag: ``ring`` makes waiters look again, ``stop`` makes them raise ``Stopped``."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._stopping = False

    @property
    def stopping(self) -> bool:
        return self._stopping

    def ring(self) -> None:
        with self._condition:
            self._condition.notify_all()

    def stop(self) -> None:
        with self._condition:
            self._stopping = True
            self._condition.notify_all()

    def wait(self, until: Callable[[], bool], timeout_s: float | None) -> bool:
        """Wait until ``until()`` is true or ``timeout_s`` seconds are over (None: without limit).

        Returns:
            What ``until()`` said last.

        Raises:
            Stopped: ``stop`` was called, before or while waiting.
        """
        with self._condition:
            self._condition.wait_for(lambda: self._stopping or until(), timeout_s)
            if self._stopping:
                raise Stopped
            return until()

    def pause(self, seconds: float) -> None:
        """Do nothing for so long, unless stopped: then raise ``Stopped``."""
        self.wait(lambda: False, seconds)
