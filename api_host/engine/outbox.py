"""What the worker has to say, on its way to the host: pieces of text that lie close together travel together.

Each piece wakes a thread of the host, which shares the cores with the model on a CPU; forty milliseconds are below what
a reader or a network would notice, and many streams at once wait a little longer. First pieces and ends never wait.
Knows nothing of how pieces come about.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from api_host.engine.messages import EngineStats, Step, WorkerEvent

TOGETHER_S = 0.04
# Of all streams together, a second; then each of them waits longer, but at most so many seconds.
MOST_PIECES = 100
LONGEST_TOGETHER_S = 0.15


class Source(Protocol):
    """What has something to say.

    ``urgent``: somebody waits for it. ``only_decodes``: the next step is as short as a step can be, and so may be
    waited for.
    """

    @property
    def urgent(self) -> bool: ...

    @property
    def only_decodes(self) -> bool: ...

    @property
    def stats(self) -> EngineStats: ...

    def take_events(self) -> list[WorkerEvent]: ...


class Outbox:
    """Sends what a source has to say, in frames.

    Args:
        source: is asked after each step.
        send: takes a frame.
        clock: seconds; monotonic.
    """

    def __init__(
        self, source: Source, send: Callable[[Step], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._source = source
        self._send = send
        self._clock = clock
        self._due = float("-inf")
        self._stats = EngineStats()

    def after_step(self) -> None:
        """Sends a frame, if there is something to say that cannot wait or has waited long enough."""
        source = self._source
        if source.urgent or self._clock() >= self._due or not source.only_decodes:
            self._flush()

    def _flush(self) -> None:
        events, stats = self._source.take_events(), self._source.stats
        if events or stats != self._stats:
            self._send(Step(events, stats))
            self._stats = stats
            wait = min(LONGEST_TOGETHER_S, max(TOGETHER_S, stats.n_running / MOST_PIECES))
            self._due = self._clock() + wait
