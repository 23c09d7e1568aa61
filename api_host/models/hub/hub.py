"""From a model's reference to a GGUF on this disk: found in the local cache first, fetched from the hub otherwise.

Knows neither processes nor HTTP, and nothing of what the file is for. One download at a time for each model;
whoever else wants it joins that one.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from api_host.errors import Cancelled, ModelFileNotFound
from api_host.models.cache import ModelCache
from api_host.models.demo import DEMO_MODEL_PATH
from api_host.models.gguf_files import models_among, split_parts
from api_host.models.hub.messages import Download, Moved
from api_host.models.hub.transfer import Progress, Transfer
from api_host.models.reference import ModelRef

__all__ = ["Hub", "Progress"]

OnProgress = Callable[[Progress], None]

_LOOK_EVERY_S = 0.1
_RATE_OVER_S = 5.0


class Hub:
    """Finds models on the disk and fetches them from the hub.

    Args:
        models_dir: the folder for downloads (in the hub cache's layout) and for local GGUFs; None is Hugging
            Face's own cache.
        token: the hub token; None is the one that the library finds (``HF_TOKEN``, or a login).
        stall_timeout: seconds without a new byte after which a download is ended and resumed.
        disk_reserve: bytes that must stay free on the disk.
        endpoint: the hub's address; None is ``HF_ENDPOINT``, or huggingface.co.
    """

    def __init__(
        self,
        models_dir: Path | None,
        token: str | None = None,
        stall_timeout: float = 60.0,
        disk_reserve: int = 1_000_000_000,
        endpoint: str | None = None,
    ) -> None:
        self.cache = ModelCache(models_dir)
        self._token = token
        self._stall_timeout = stall_timeout
        self._disk_reserve = disk_reserve
        self._endpoint = endpoint
        self._lock = threading.Lock()
        self._flights: dict[str, _Flight] = {}

    def locate(self, ref: ModelRef) -> Path | None:
        """The GGUF (the first part of a split one), if it is on this disk with all its parts; else None.

        Never asks the network: a quantization, or ``owner/name`` alone, is chosen among the files that are cached.
        """
        if ref.is_demo:
            return DEMO_MODEL_PATH
        return self.cache.find(ref)

    def fetch(
        self, ref: ModelRef, on_progress: OnProgress | None = None, cancel: threading.Event | None = None
    ) -> Path:
        """The GGUF, downloaded first when it is not on this disk; blocks until then.

        Args:
            ref: the model.
            on_progress: called in this thread whenever the download has moved, a few times a second.
            cancel: ends the wait when it is set, and the download when nobody else waits for it.

        Returns:
            The path of the GGUF, of its first part when it is split.

        Raises:
            Cancelled: ``cancel`` was set.
            ModelError: RepoNotFound, ModelFileNotFound, GatedRepo, HubTokenRejected, HubRateLimited,
                HubUnreachable, DownloadStalled, DownloadFailed, ChecksumMismatch or DiskFull.
        """
        found = self.locate(ref)
        if found is not None:
            return found
        if ref.repo_id is None:
            raise self._no_such_local_file(ref)
        flight = self._join(ref, ref.repo_id)
        try:
            path = flight.follow(on_progress, cancel)
        finally:
            self._leave(ref, flight)
        return self.locate(ref) or path

    def _no_such_local_file(self, ref: ModelRef) -> ModelFileNotFound:
        if self.cache.models_dir is None:
            return ModelFileNotFound(
                f"{ref.name} is a local file, but this host has no models_dir", available=[]
            )
        local = self.cache.local_files()
        available = models_among(local)
        parts = split_parts(ref.name)
        missing = [part for part in parts if part not in local]
        if 0 < len(missing) < len(parts):
            return ModelFileNotFound(
                f"{ref.name} has {len(parts)} parts, and {missing[0]} is not below the host's models_dir; put it "
                "beside the others",
                available=available,
            )
        return ModelFileNotFound(
            f"{ref.name} is not below the host's models_dir; see GET /api/models", available=available
        )

    def _join(self, ref: ModelRef, repo_id: str) -> _Flight:
        with self._lock:
            flight = self._flights.get(ref.name)
            if flight is None:
                request = Download(
                    repo_id, str(self.cache.folder), ref.file_name, ref.quant, self._token, self._disk_reserve
                )
                flight = _Flight(Transfer(request, self._stall_timeout, self._endpoint))
                self._flights[ref.name] = flight
            flight.followers += 1
            return flight

    def _leave(self, ref: ModelRef, flight: _Flight) -> None:
        with self._lock:
            flight.followers -= 1
            last = flight.followers == 0
            if last:
                del self._flights[ref.name]
        if last:
            flight.end()


class _Flight:
    """One download under way, in a thread of its own, and all who wait for it."""

    def __init__(self, transfer: Transfer) -> None:
        self.followers = 0
        self._changed = threading.Condition()
        self._progress: Progress | None = None
        self._version = 0
        self._outcome: Path | Exception | None = None
        self._cancel = threading.Event()
        self._recent: deque[tuple[float, int]] = deque()
        self._thread = threading.Thread(
            target=self._fly, args=(transfer,), name="model-download", daemon=True
        )
        self._thread.start()

    def follow(self, on_progress: OnProgress | None, cancel: threading.Event | None) -> Path:
        """Waits for the end and tells of the way there."""
        seen = 0
        while True:
            version, progress, outcome = self._wait_past(seen)
            if version != seen and progress is not None and on_progress is not None:
                on_progress(progress)
            seen = version
            if isinstance(outcome, Exception):
                raise outcome
            if outcome is not None:
                return outcome
            if cancel is not None and cancel.is_set():
                raise Cancelled("the download was cancelled; what has arrived stays for the next time")

    def _wait_past(self, version: int) -> tuple[int, Progress | None, Path | Exception | None]:
        with self._changed:
            # Bounded, because a caller's cancel event cannot wake it.
            self._changed.wait_for(
                lambda: self._version != version or self._outcome is not None, _LOOK_EVERY_S
            )
            return self._version, self._progress, self._outcome

    def end(self) -> None:
        """Ends the download if it is still under way; afterwards its process and thread are gone."""
        self._cancel.set()
        self._thread.join()

    def _fly(self, transfer: Transfer) -> None:
        outcome: Path | Exception
        try:
            outcome = transfer.run(self._note, self._cancel)
        except Exception as error:  # noqa: BLE001 (raised again in every thread that waits)
            outcome = error
        with self._changed:
            self._outcome = outcome
            self._changed.notify_all()

    def _note(self, moved: Moved, resumed: int) -> None:
        now = time.monotonic()
        if self._progress is not None and self._progress.resumed != resumed:
            self._recent.clear()
        self._recent.append((now, moved.done))
        while now - self._recent[0][0] > _RATE_OVER_S and len(self._recent) > 2:
            self._recent.popleft()
        since, before = self._recent[0]
        rate = max(0.0, (moved.done - before) / (now - since)) if now > since else 0.0
        with self._changed:
            self._progress = Progress(moved.file, moved.done, moved.total, resumed, rate)
            self._version += 1
            self._changed.notify_all()
