"""The models of a host: which are loaded, which come next, and which go.

Knows nothing of HTTP, of prompts or of llama.cpp. However many requests ask for a model, it is fetched and loaded
once, by a thread of its own. Requests for one model are served in the order in which they came: one that needs it
loaded anew holds back those behind it, so that a steady stream of others cannot starve it. What has been begun is
finished: when the last waiting request gives up, download and load go on, and the next request finds the model;
``unload`` ends them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from api_host.config import HostConfig
from api_host.engine.messages import EngineStats, ModelInfo
from api_host.errors import (
    ApiHostError,
    Cancelled,
    HostStopping,
    ModelFileNotFound,
    ModelLoadFailed,
    OutOfMemory,
    WorkerDied,
)
from api_host.generation import LoadOptions
from api_host.models.pool.entry import ModelEntry
from api_host.models.pool.lease import Lease
from api_host.models.pool.loaded import LoadedModel, RunningWorker, StartWorker, Target
from api_host.models.pool.loading import Loading, ModelSource, drafts_of
from api_host.models.pool.memory import Memory
from api_host.models.pool.residents import Residents
from api_host.models.reference import ModelRef

_END_WAIT_S = 10.0


def _ignore(*_: object) -> None:
    pass


class ModelPool:
    """Several models at once, within the memory there is.

    The least recently used idle model is ended to make room, a busy one never. A model that would fit if a busy
    one ended waits for that, at most ``residents.ROOM_WAIT_S``.

    Args:
        config: the host's settings.
        source: finds and fetches the files.
        start_worker: ``Worker.start``.
        on_loaded: called with name and facts of a model that has just been loaded.
        on_failed: called with name and reason of a model that could not be fetched or loaded.
        on_downloaded: called with the bytes that have just come from the hub.

    Raises:
        InvalidRequest: ``model`` or ``draft_model`` of the settings is not the name of a model.
    """

    def __init__(
        self,
        config: HostConfig,
        source: ModelSource,
        start_worker: StartWorker,
        on_loaded: Callable[[str, ModelInfo], None] = _ignore,
        on_failed: Callable[[str, ApiHostError], None] = _ignore,
        on_downloaded: Callable[[int], None] = _ignore,
    ) -> None:
        self._config = config
        self._drafts = drafts_of(config)
        self.source = source
        self._start_worker = start_worker
        self._on_loaded = on_loaded
        self._on_failed = on_failed
        self._on_downloaded = on_downloaded
        memory = Memory(config.memory_budget, config.main_gpu, config.tensor_split)
        self._residents = Residents(memory, config.n_gpu_layers != 0)
        self._entries = self._residents.entries
        self._lock = self._residents.lock

    def check(self, ref: ModelRef, options: LoadOptions) -> None:
        """Raises at once what a request would have to wait for in vain.

        Raises:
            HostStopping: the host stops. QueueFull: too many wait for this model.
            ModelLoadFailed, OutOfMemory, HubRateLimited: it has just failed, and is left alone for a while.
        """
        with self._lock:
            self._check(ref, options)

    def acquire(self, ref: ModelRef, options: LoadOptions) -> Lease:
        """A claim on the model, which gets fetched and loaded if it is not. Does not block; see Lease.

        Raises:
            as ``check``.
        """
        with self._lock:
            self._check(ref, options)
            entry = self._entry(ref)
            lease = Lease(options, entry.waiting_for, functools.partial(self._give_up, entry))
            entry.waiting.append(lease)
            self._advance(entry)
        return lease

    def unload(self, name: str, path: Path | None = None) -> None:
        """Ends a model, or its download or load, and forgets that it failed; ``path`` finds it by its file as well.

        Raises:
            ModelBusy: a request runs on it or waits for it.
            ModelFileNotFound: nobody has asked for such a model.
        """
        with self._lock:
            entry = self._residents.find(name, path)
            if entry is None:
                raise ModelFileNotFound(f"{name} is not loaded; GET /api/models lists the models there are")
            entry.check_idle()
            entry.forget_failure()
            loading = entry.loading
        if loading is not None:
            self._cancel(loading)
            loading.join(_END_WAIT_S)
        with self._lock:
            entry.check_idle()
            model = entry.model
            if model is not None:
                self._residents.detach(model)
        if model is not None:
            self._residents.end(model)

    def entries(self, files: Mapping[str, Path] | None = None) -> list[dict[str, Any]]:
        """The models that were asked for, and those of ``files`` that are one, as ``GET /api/models`` shows them."""
        with self._lock:
            return self._residents.shown(files or {})

    def engine_stats(self) -> dict[str, EngineStats]:
        """What each worker says of itself, by model."""
        with self._lock:
            return {model.name: model.worker.stats for model in self._residents.models()}

    def stop(self) -> None:
        """Ends every worker, load and download; what waits gets HostStopping. Later calls do nothing."""
        with self._lock:
            self._residents.stopping = True
            entries = self._residents.each()
            for claim in [claim for entry in entries for claim in entry.waiting]:
                claim.settle(error=HostStopping("the host is stopping; ask again when it is up"))
            loadings = [entry.loading for entry in entries if entry.loading is not None]
        for loading in loadings:
            self._cancel(loading)
        for loading in loadings:
            loading.join(None)
        with self._lock:
            models = list(self._residents.models())
            for model in models:
                self._residents.detach(model)
        for model in models:
            self._residents.end(model)

    # With the lock held.

    def _check(self, ref: ModelRef, options: LoadOptions) -> None:
        if self._residents.stopping:
            raise HostStopping("the host is stopping; ask again when it is up")
        entry = self._entries.get(ref.name)
        refusal = entry.refusal(options, self._config.queue_limit) if entry is not None else None
        if refusal is not None:
            raise refusal

    def _entry(self, ref: ModelRef) -> ModelEntry:
        if not self._residents.has(ref):
            self._residents.forget_oldest()
            default = Target(self._config.ctx_length, use_gpu=True)
            self._entries[ref.name] = ModelEntry(ref, default, self._config.load_cooldown)
        return self._entries[ref.name]

    def _advance(self, entry: ModelEntry) -> None:
        """Serves the claims on a model in turn, as far as it goes now; begins a load when the first one needs it."""
        while entry.waiting and entry.loading is None and not self._residents.stopping:
            claim, model = entry.waiting[0], entry.model
            if model is not None and not model.worker.alive:
                entry.model = None
            elif claim.settled:
                entry.waiting.popleft()
            elif model is not None and model.suits(claim.options):
                entry.waiting.popleft()
                if claim.settle(model=model):
                    model.hold()
            elif model is None or model.idle:
                self._begin_load(entry, claim.options)
            else:
                return

    def _begin_load(self, entry: ModelEntry, options: LoadOptions) -> None:
        draft = next((ref for name, ref in self._drafts.items() if self._entries.get(name) is entry), None)
        loading = Loading(entry.ref, entry.target(options), self._config, self._on_downloaded, draft)
        entry.loading = loading
        entry.error = None
        loading.begin(functools.partial(self._run, entry, loading))

    # Without the lock.

    def _give_up(self, entry: ModelEntry, lease: Lease) -> None:
        with self._lock:
            if lease.model is not None:
                lease.model.let_go()
                if lease.model.idle:
                    self._residents.note_change()
            entry = self._entries.get(entry.name, entry)
            if lease in entry.waiting:
                entry.waiting.remove(lease)
            self._advance(entry)

    def _cancel(self, loading: Loading) -> None:
        loading.cancel()
        with self._lock:
            self._residents.note_change()

    def _run(self, entry: ModelEntry, loading: Loading) -> None:
        """The thread of a load: fetch, make room, start."""
        outcome: LoadedModel | ApiHostError = ModelLoadFailed(
            f"loading {entry.name} failed inside the host; its log says why"
        )
        try:
            path = loading.fetch(self.source)
            self._join_twin(entry, path)
            self._residents.make_room(entry, loading, loading.estimate(path))
            outcome = self._start(loading, path)
        except ApiHostError as error:
            outcome = error
        except OSError as error:
            outcome = ModelLoadFailed(
                f"the file of {entry.name} cannot be read, or its process cannot be started: {error.strerror}"
            )
        finally:
            self._settle(entry, loading, outcome)

    def _join_twin(self, entry: ModelEntry, path: Path) -> None:
        """Two names may mean one file; the later one becomes another name of the earlier one's entry.

        Raises:
            Cancelled: it did; there is nothing more to load here.
        """
        with self._lock:
            twin = self._residents.merge(entry, path)
            if twin is not None:
                self._advance(twin)
                raise Cancelled(f"{entry.name} is {twin.name}")

    def _start(self, loading: Loading, path: Path) -> LoadedModel:
        try:
            return loading.start(path, self._start_worker, self._worker_ended)
        except OutOfMemory:
            if not self._residents.end_idle():
                raise
        return loading.start(path, self._start_worker, self._worker_ended)

    def _settle(self, entry: ModelEntry, loading: Loading, outcome: LoadedModel | ApiHostError) -> None:
        """Ends a load: the claims that wait get the model, or the error, or a load of their own."""
        if isinstance(outcome, LoadedModel) and not outcome.worker.alive:
            outcome.worker.stop()
            outcome = WorkerDied(f"the process of {entry.name} ended as soon as the model was loaded")
        with self._lock:
            entry.loading = None
            entry.size = loading.fetched_size or entry.size
            unwanted = self._residents.stopping or loading.cancelled
            if isinstance(outcome, ApiHostError):
                self._fail(entry, loading, outcome)
            elif not unwanted:
                entry.note_loaded(outcome)
                self._residents.note_placement(outcome)
            self._advance(entry)
            self._residents.note_change()
        self._tell(entry.name, outcome, unwanted)

    def _tell(self, name: str, outcome: LoadedModel | ApiHostError, unwanted: bool) -> None:
        if isinstance(outcome, LoadedModel) and unwanted:
            outcome.worker.stop()
        elif isinstance(outcome, LoadedModel):
            self._on_loaded(name, outcome.info)
        elif not isinstance(outcome, Cancelled):
            self._on_failed(name, outcome)

    def _fail(self, entry: ModelEntry, loading: Loading, error: ApiHostError) -> None:
        """With the lock held. A load that was cancelled is nobody's failure: who waits gets a new one."""
        if isinstance(error, Cancelled):
            return
        for claim in entry.note_failed(error, loading):
            claim.settle(error=error)
            entry.waiting.remove(claim)

    def _worker_ended(self, worker: RunningWorker) -> None:
        """A worker's process is gone; the next request starts a new one."""
        with self._lock:
            for entry in self._residents.each():
                if entry.model is not None and entry.model.worker is worker:
                    entry.model = None
                    self._advance(entry)
            self._residents.note_change()
