"""Workers without a process: the interface of engine/process.py's Worker, and a source of models without a hub."""

from __future__ import annotations

import itertools
import queue
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from api_host.engine.messages import (
    Embedded,
    EngineStats,
    Load,
    ModelInfo,
    Piece,
    RequestAccepted,
    RequestFinished,
    WorkerEvent,
)
from api_host.errors import Cancelled, WorkerDied
from api_host.generation import Timings, Usage
from api_host.models.reference import ModelRef


class FakeStream:
    """The events of one request; ``say`` makes one."""

    def __init__(self, n_ctx: int | None) -> None:
        self.n_ctx = n_ctx
        self.cancelled = False
        self._events: queue.SimpleQueue[WorkerEvent | Exception] = queue.SimpleQueue()

    def say(self, event: WorkerEvent | Exception) -> None:
        self._events.put(event)

    @property
    def ready(self) -> bool:
        return not self._events.empty()

    def get(self, timeout: float | None = None) -> WorkerEvent | None:
        try:
            event = self._events.get(timeout=timeout)
        except queue.Empty:
            return None
        if isinstance(event, Exception):
            raise event
        return event

    def cancel(self) -> None:
        self.cancelled = True
        self.interrupt()

    def interrupt(self) -> None:
        self.say(Cancelled("the request was cancelled"))


class FakeWorker:
    """A worker that answers each request with "Hi" at once, or, ``silent``, with what the test lets it say."""

    _pids = itertools.count(10_000_000)

    def __init__(self, load: Load, on_exit: Callable[[Any], None] | None, info: ModelInfo) -> None:
        self.load = load
        self.info = info
        self.stats = EngineStats()
        self.pid = next(self._pids)
        self.alive = True
        self.silent = False
        self.streams: list[FakeStream] = []
        self.requests: list[tuple[Any, Any]] = []
        self._on_exit = on_exit
        self.stopped = threading.Event()

    def generate(
        self, request: Any, n_ctx: int | None = None, *, count_only: bool = False, adapters: Any = None
    ) -> FakeStream:
        if not self.alive:
            raise WorkerDied("the fake worker is dead")
        stream = FakeStream(n_ctx)
        self.streams.append(stream)
        self.requests.append((request, adapters))
        if not self.silent:
            stream.say(RequestAccepted(1, 3))
            stream.say(Piece(1, 0, "Hi", 1, "stop"))
            stream.say(RequestFinished(1, Usage(3, 1), Timings()))
        return stream

    def embed(self, texts: list[str | list[int]], *, truncate: bool = False) -> FakeStream:
        stream = FakeStream(None)
        self.streams.append(stream)
        if not self.silent:
            vectors = [struct.pack("<2f", len(text), 0.5) for text in texts]
            stream.say(Embedded(1, vectors, 2 * len(texts)))
        return stream

    def stop(self, timeout: float = 5.0) -> None:
        self.alive = False
        self.stopped.set()

    def die(self) -> None:
        """Ends as a killed process does: streams first, then the owner is told."""
        self.alive = False
        for stream in self.streams:
            stream.say(WorkerDied("the fake worker was killed"))
        if self._on_exit is not None:
            self._on_exit(self)


class FakeWorkers:
    """Starts fake workers, as ``Worker.start`` does.

    ``failures`` are raised by the next starts, one each; ``gate``, cleared, holds a start until it is set; ``shape``
    changes what the worker reports of its model.
    """

    def __init__(self) -> None:
        self.started: list[FakeWorker] = []
        self.loads: list[Load] = []
        self.failures: list[Exception] = []
        self.gate = threading.Event()
        self.gate.set()
        self.shape: Callable[[ModelInfo], None] = lambda info: None

    def __call__(
        self,
        load: Load,
        on_exit: Callable[[Any], None] | None = None,
        on_start: Callable[[Any], None] | None = None,
    ) -> FakeWorker:
        self.loads.append(load)
        info = _info(load)
        self.shape(info)
        worker = FakeWorker(load, on_exit, info)
        if on_start is not None:
            on_start(worker)
        while not self.gate.wait(0.005):
            if worker.stopped.is_set():
                raise Cancelled("loading the model was cancelled")
        if self.failures:
            raise self.failures.pop(0)
        self.started.append(worker)
        return worker


def _info(load: Load) -> ModelInfo:
    return ModelInfo(
        architecture="fake",
        description="a fake",
        n_params=1,
        size=1000,
        n_ctx_train=100_000,
        n_ctx=load.n_ctx,
        n_slots=1,
        n_vocab=10,
        n_layer=1,
        n_gpu_layers=0,
        device="CPU",
        has_chat_template=True,
    )


@dataclass
class Moved:
    """Progress of a download."""

    file: str
    bytes_done: int
    bytes_total: int


class FakeSource:
    """Models of given sizes in a folder; those not yet there are "fetched" into it.

    ``gate``, cleared, holds a fetch until it is set; ``failures`` are raised by the next fetches, one each.
    """

    def __init__(self, folder: Path, size: int = 1000) -> None:
        self.folder = folder
        self.size = size
        self.fetched: list[str] = []
        self.failures: list[Exception] = []
        self.gate = threading.Event()
        self.gate.set()

    def locate(self, ref: ModelRef) -> Path | None:
        path = self._path(ref)
        return path if path.exists() else None

    def fetch(self, ref: ModelRef, on_progress: Callable[[Any], None], cancel: threading.Event) -> Path:
        self.fetched.append(ref.name)
        on_progress(Moved(ref.name, 0, self.size))
        on_progress(Moved(ref.name, self.size // 2, self.size))
        while not self.gate.wait(0.005):
            if cancel.is_set():
                raise Cancelled("the download was cancelled")
        if self.failures:
            raise self.failures.pop(0)
        path = self._path(ref)
        path.write_bytes(bytes(self.size))
        return path

    def _path(self, ref: ModelRef) -> Path:
        return self.folder / f"{ref.name.replace('/', '_')}"
