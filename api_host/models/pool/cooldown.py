"""How long a model that failed to load is left alone.

Knows nothing of models: it keeps the last failure and counts.
"""

from __future__ import annotations

import time

from api_host.errors import ApiHostError

LONGEST_S = 600.0


class Cooldown:
    """After each failure in a row the pause doubles, up to ten minutes.

    Args:
        first: seconds after the first failure.
    """

    def __init__(self, first: float) -> None:
        self._first = first
        self._failures = 0
        self._until = 0.0
        self.cause: ApiHostError | None = None

    def fail(self, cause: ApiHostError) -> None:
        """One more failure in a row."""
        self.pause(cause, min(LONGEST_S, self._first * 2 ** min(self._failures, 30)))
        self._failures += 1

    def pause(self, cause: ApiHostError, seconds: float | None) -> None:
        """A pause of a length that somebody else has set (None: the first pause); it does not count as a failure."""
        self._until = time.monotonic() + (self._first if seconds is None else seconds)
        self.cause = cause

    def reset(self) -> None:
        self._failures = 0
        self._until = 0.0
        self.cause = None

    @property
    def remaining(self) -> float:
        """Seconds until the next try; 0 when it may be tried."""
        return max(0.0, self._until - time.monotonic())
