"""A model in a worker: what it was loaded for, and who uses it.

Knows nothing of downloads or of other models. Its owner, the pool, calls it under the pool's lock.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from api_host.engine.messages import EngineStats, Load, ModelInfo, WorkerEvent
from api_host.generation import GenerationRequest, LoadOptions
from api_host.models.pool.memory import Holder


class Answer(Protocol):
    """One request's events, as engine/process.py's RequestStream hands them out."""

    @property
    def ready(self) -> bool: ...

    def get(self, timeout: float | None) -> WorkerEvent | None: ...

    def cancel(self) -> None: ...

    def interrupt(self) -> None: ...


class RunningWorker(Protocol):
    """What the house asks of a worker, as engine/process.py's Worker has it."""

    @property
    def info(self) -> ModelInfo | None: ...

    @property
    def stats(self) -> EngineStats: ...

    @property
    def pid(self) -> int: ...

    @property
    def alive(self) -> bool: ...

    def generate(
        self,
        request: GenerationRequest,
        n_ctx: int | None = None,
        *,
        count_only: bool = False,
        adapters: list[tuple[str, float]] | None = None,
    ) -> Answer: ...

    def embed(self, texts: list[str | list[int]], *, truncate: bool = False) -> Answer: ...

    def stop(self, timeout: float = ...) -> None: ...


class StartWorker(Protocol):
    """Starts a worker and blocks until its model is loaded, as ``Worker.start`` does."""

    def __call__(
        self,
        load: Load,
        on_exit: Callable[[Any], None] | None = ...,
        on_start: Callable[[Any], None] | None = ...,
    ) -> RunningWorker: ...


@dataclass(frozen=True)
class Target:
    """How a model is to be loaded: tokens a sequence, and whether a GPU may be used."""

    n_ctx: int
    use_gpu: bool


class LoadedModel:
    """One worker's model and the number of requests on it.

    Args:
        name: canonical name.
        worker: has loaded it.
        target: what was asked for; ``info`` says what it became.
        need: bytes it is reckoned to take.
    """

    def __init__(self, name: str, worker: RunningWorker, target: Target, need: int) -> None:
        assert worker.info is not None, "a worker that has started knows its model"
        self.name = name
        self.info = worker.info
        self.worker = worker
        self.target = target
        self.need = need
        self.n_leases = 0
        self.last_used = time.monotonic()

    @property
    def idle(self) -> bool:
        return self.n_leases == 0

    @property
    def on_gpu(self) -> bool:
        return self.info.n_gpu_layers > 0

    @property
    def holder(self) -> Holder:
        return Holder(self.need, self.on_gpu, self.worker.pid)

    def suits(self, options: LoadOptions) -> bool:
        """Whether a request with these options can run on the model as it is loaded.

        What the worker could not give at the first try it would not give at a second: a context that came out
        shorter than asked for suits longer wishes too, and so does the CPU when there was no GPU to be had.
        """
        n_ctx = options.ctx_length or 0
        long_enough = n_ctx <= max(self.target.n_ctx, self.info.n_ctx) or self.info.n_ctx < self.target.n_ctx
        return long_enough and self._on_device(options.use_gpu)

    def _on_device(self, use_gpu: bool | None) -> bool:
        if use_gpu is None or use_gpu == self.target.use_gpu:
            return True
        return not use_gpu and self.info.n_gpu_layers == 0

    def hold(self) -> None:
        self.n_leases += 1
        self.last_used = time.monotonic()

    def let_go(self) -> None:
        self.n_leases -= 1
        self.last_used = time.monotonic()
