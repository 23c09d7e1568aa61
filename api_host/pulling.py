"""Fetching a model without loading it, as events.

Knows nothing of HTTP, of workers or of memory.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import Any

from api_host.errors import Cancelled
from api_host.generation import Accepted, Event, Finished, Timings, Usage, Waiting
from api_host.models.pool.loading import ModelSource, Progress
from api_host.models.reference import ModelRef

PROGRESS_EVERY_S = 1.0


class Pull:
    """One download. Iterate once: Waiting("downloading") with its progress, then Accepted and Finished.

    ``progress`` is ``{"file", "bytes_done", "bytes_total"}``, empty until the hub has told; a model that is on this
    disk waits for nothing. However the iteration ends, also half-way, the download ends with it unless others wait
    for the same one; what has arrived stays for the next time.

    Args:
        source: finds and fetches the file.
        ref: the model.

    Raises (while it is iterated over):
        Cancelled: ``cancel`` was called.
        ModelError: as ``Hub.fetch``.
    """

    def __init__(self, source: ModelSource, ref: ModelRef) -> None:
        self._source = source
        self._ref = ref
        self._cancel = threading.Event()
        # The progress; None when the file is there; what the download failed with.
        self._news: queue.SimpleQueue[dict[str, Any] | Exception | None] = queue.SimpleQueue()

    def __iter__(self) -> Iterator[Event]:
        if self._cancel.is_set():
            raise Cancelled("the download was cancelled before it began")
        if self._source.locate(self._ref) is None:
            yield from self._download()
        yield Accepted(self._ref.name, 0)
        yield Finished(Usage(), Timings())

    def cancel(self) -> None:
        """Ends the download; iteration then raises Cancelled. Safe from any thread."""
        self._cancel.set()

    def _download(self) -> Iterator[Waiting]:
        thread = threading.Thread(target=self._fetch, name=f"pull {self._ref.name}", daemon=True)
        thread.start()
        progress: dict[str, Any] | None = {}
        try:
            while progress is not None:
                yield Waiting("downloading", progress)
                progress = self._next(progress)
        finally:
            self._cancel.set()
            thread.join()

    def _next(self, progress: dict[str, Any]) -> dict[str, Any] | None:
        """The news of at most a second: the progress, or None when the file is there."""
        try:
            news = self._news.get(timeout=PROGRESS_EVERY_S)
        except queue.Empty:
            return progress
        if isinstance(news, Exception):
            raise news
        return news

    def _fetch(self) -> None:
        try:
            self._source.fetch(self._ref, self._note, self._cancel)
        except Exception as failure:  # noqa: BLE001 (raised again in the thread that iterates)
            self._news.put(failure)
        else:
            self._news.put(None)

    def _note(self, progress: Progress) -> None:
        self._news.put(
            {
                "file": progress.file,
                "bytes_done": progress.bytes_done,
                "bytes_total": progress.bytes_total,
            }
        )
