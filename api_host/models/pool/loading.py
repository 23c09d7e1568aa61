"""One attempt to get a model from a reference into a worker: where it is, how far it is, and how to end it.

Knows nothing of other models or of who waits for this one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from api_host.config import HostConfig
from api_host.engine.messages import Load
from api_host.errors import Cancelled, InvalidRequest
from api_host.models.pool.loaded import LoadedModel, RunningWorker, StartWorker, Target
from api_host.models.pool.memory import GUESSED_SLOTS, Holder, Need, estimate_need, file_size
from api_host.models.reference import ModelRef, parse_reference


class Progress(Protocol):
    """How far a download is, in bytes."""

    @property
    def file(self) -> str: ...

    @property
    def bytes_done(self) -> int: ...

    @property
    def bytes_total(self) -> int: ...


class ModelSource(Protocol):
    """Where models come from, as hub.py's Hub has it."""

    def locate(self, ref: ModelRef) -> Path | None: ...

    def fetch(self, ref: ModelRef, on_progress: Callable[[Any], None], cancel: threading.Event) -> Path: ...


def drafts_of(config: HostConfig) -> dict[str, ModelRef]:
    """The draft model of each model that has one, by its name: only the host's default model does.

    Raises:
        InvalidRequest: ``draft_model`` is no reference, or there is no model that it could guess for.
    """
    if config.draft_model is None:
        return {}
    if config.model is None:
        raise InvalidRequest(
            "draft_model: guesses for the host's own model; set model as well, or leave it out"
        )
    name = parse_reference(config.model).name
    try:
        return {name: parse_reference(config.draft_model)}
    except InvalidRequest as error:
        raise InvalidRequest(f"draft_{error.message}") from error


class Loading:
    """A model on its way.

    Args:
        ref: which model.
        target: how it is to be loaded.
        config: the host's settings; they fill in what a request cannot ask for.
        on_downloaded: called with the bytes that came since the last call.
        draft: the model that guesses for it.
    """

    def __init__(
        self,
        ref: ModelRef,
        target: Target,
        config: HostConfig,
        on_downloaded: Callable[[int], None],
        draft: ModelRef | None = None,
    ) -> None:
        self.ref = ref
        self.target = target
        self.status = "loading"
        self._download: dict[str, Any] = {}
        self.size: int | None = None
        self.started = False
        self.holder = Holder(0, on_gpu=False, is_loading=True)
        self._thread: threading.Thread | None = None
        self._config = config
        self._draft = draft
        self._draft_path: Path | None = None
        self._on_downloaded = on_downloaded
        self._bytes_seen: int | None = None
        self._cancel = threading.Event()
        self._load_began = time.monotonic()
        self._worker: RunningWorker | None = None

    @property
    def cancelled(self) -> bool:
        return self._cancel.is_set()

    @property
    def progress(self) -> dict[str, Any]:
        """``file``, ``bytes_done``, ``bytes_total`` of a download; the ``seconds`` that a load has taken so far."""
        if self.status == "downloading":
            return self._download
        return {"seconds": round(time.monotonic() - self._load_began, 1)}

    @property
    def fetched_size(self) -> int | None:
        """Bytes of the model's file; None as long as it is not all on this disk."""
        return self.size if self.status == "loading" else None

    def begin(self, run: Callable[[], None]) -> None:
        """Runs ``run`` in a thread of this attempt's own."""
        self._thread = threading.Thread(target=run, name=f"load {self.ref.name}", daemon=True)
        self._thread.start()

    def join(self, timeout: float | None) -> None:
        """Waits for that thread's end, at most ``timeout`` seconds."""
        if self._thread is not None and self._thread.ident is not None:
            self._thread.join(timeout)

    def cancel(self) -> None:
        """Ends the download or the load soon. Safe from any thread; later calls do nothing."""
        self._cancel.set()
        if self._worker is not None:
            self._worker.stop()

    def fetch(self, source: ModelSource) -> Path:
        """The model's file, and its draft model's, from this disk or from the hub.

        Returns:
            That of the model.

        Raises:
            The hub's errors, and Cancelled.
        """
        path = self._fetch(source, self.ref)
        if self._draft is not None:
            self._draft_path = self._fetch(source, self._draft)
        self._load_began = time.monotonic()
        self.status = "loading"
        self.size = file_size(path)
        return path

    def _fetch(self, source: ModelSource, ref: ModelRef) -> Path:
        path = source.locate(ref)
        if path is None:
            self._download = {"file": ref.name, "bytes_done": 0, "bytes_total": 0}
            self._bytes_seen = None
            self.status = "downloading"
            path = source.fetch(ref, self._note_download, self._cancel)
        return path

    def estimate(self, path: Path) -> Need:
        """What the model is reckoned to need, its draft model included."""
        parallel = self._config.parallel
        return self._need(path, self.target.n_ctx, None if parallel == "auto" else parallel)

    def _need(self, path: Path, n_ctx: int, n_slots: int | None) -> Need:
        need = estimate_need(path, n_ctx, n_slots, self._config.cache_type)
        if self._draft_path is None:
            return need
        return need + estimate_need(self._draft_path, n_ctx, n_slots, self._config.cache_type)

    def reserve(self, n_bytes: int, on_gpu: bool) -> None:
        """Counts as memory that is taken from now on."""
        self.holder = Holder(n_bytes, on_gpu, is_loading=True)

    def start(
        self, path: Path, start_worker: StartWorker, on_exit: Callable[[RunningWorker], None]
    ) -> LoadedModel:
        """The model in a worker.

        Raises:
            ModelLoadFailed, OutOfMemory, WorkerDied, Cancelled: as ``start_worker``.
            OSError: the file is gone since the worker has read it; the worker is ended.
        """
        if self.cancelled:
            raise Cancelled(f"loading {self.ref.name} was cancelled")
        self.started = True
        worker = start_worker(self._message(path), on_exit=on_exit, on_start=self._note_worker)
        if self.cancelled:
            worker.stop()
            raise Cancelled(f"loading {self.ref.name} was cancelled")
        assert worker.info is not None, "a worker that has started knows its model"
        try:
            need = self._need(path, worker.info.n_ctx, worker.info.n_slots).wanted
        except OSError:
            worker.stop()
            raise
        return LoadedModel(self.ref.name, worker, self.target, need)

    def _message(self, path: Path) -> Load:
        config = self._config
        return Load(
            path=str(path),
            n_ctx=self.target.n_ctx,
            n_slots=None if config.parallel == "auto" else config.parallel,
            # Of a budget the worker knows nothing: it must not take more than was counted.
            most_slots=None if config.memory_budget == "auto" else GUESSED_SLOTS,
            use_gpu=self.target.use_gpu,
            n_gpu_layers=None if config.n_gpu_layers == "auto" else config.n_gpu_layers,
            n_threads=None if config.threads == "auto" else config.threads,
            queue_limit=config.queue_limit,
            cache_type=config.cache_type,
            lookup=config.lookup,
            draft_model=None if self._draft_path is None else str(self._draft_path),
            draft_max=config.draft_max,
            prefix_memory=None if config.prefix_memory == "auto" else config.prefix_memory,
            n_batch=config.n_batch,
            use_mmap=config.use_mmap,
            use_mlock=config.use_mlock,
            tensor_split=config.tensor_split,
            main_gpu=config.main_gpu,
            rope_freq_base=config.rope_freq_base,
            rope_freq_scale=config.rope_freq_scale,
        )

    def _note_worker(self, worker: RunningWorker) -> None:
        self._worker = worker
        self.holder.pid = worker.pid
        if self.cancelled:
            worker.stop()

    def _note_download(self, progress: Progress) -> None:
        self.size = progress.bytes_total or self.size
        self._download = {
            "file": progress.file,
            "bytes_done": progress.bytes_done,
            "bytes_total": progress.bytes_total,
        }
        # What an earlier attempt left on the disk is there at the first call and was counted then.
        before = progress.bytes_done if self._bytes_seen is None else self._bytes_seen
        self._on_downloaded(max(0, progress.bytes_done - before))
        self._bytes_seen = progress.bytes_done
