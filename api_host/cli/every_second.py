"""Looking at something again and again while something else goes on. Knows nothing of what it is."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType

LOOK_EVERY_S = 1.0


class EverySecond:
    """Calls ``look`` now and once a second, from a thread of its own, while it is entered."""

    def __init__(self, look: Callable[[], None]) -> None:
        self._look = look
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="look-at-host", daemon=True)

    def __enter__(self) -> EverySecond:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        self._look()
        while not self._over.wait(LOOK_EVERY_S):
            self._look()
