"""The events of one request, from the thread that reads a worker to the one that answers.

Knows nothing of workers.
"""

from __future__ import annotations

import queue
from collections.abc import Callable

from api_host import errors
from api_host.engine.messages import RequestFailed, WorkerEvent
from api_host.errors import ApiHostError, Cancelled


class RequestStream:
    """The events of one request, for one reader."""

    def __init__(self, cancel: Callable[[], None]) -> None:
        self._events: queue.SimpleQueue[WorkerEvent | ApiHostError] = queue.SimpleQueue()
        self._cancel = cancel

    @property
    def ready(self) -> bool:
        """Whether ``get`` would answer at once."""
        return not self._events.empty()

    def get(self, timeout: float | None = None) -> WorkerEvent | None:
        """The next event, or None after ``timeout`` seconds; RequestFinished or Embedded is the last.

        Raises:
            ApiHostError: the request was refused or has failed; WorkerDied; Cancelled after ``cancel``.
        """
        try:
            event = self._events.get(timeout=timeout)
        except queue.Empty:
            return None
        if isinstance(event, ApiHostError):
            raise event
        if isinstance(event, RequestFailed):
            raise errors.from_code(event.code, event.message, event.details)
        return event

    def cancel(self) -> None:
        """Ends the request, from any thread and at any time; ``get`` then raises Cancelled.

        It may have to wait for a worker that is slow to read what is sent to it.
        """
        self._cancel()
        self.interrupt()

    def interrupt(self) -> None:
        """Has ``get`` raise Cancelled, from any thread; returns at once, and leaves ``cancel`` to whoever reads."""
        self.put(Cancelled("the request was cancelled"))

    def put(self, event: WorkerEvent | ApiHostError) -> None:
        self._events.put(event)
