"""A pipeline with a real pool on fake workers, and what it stands on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from api_host.answering import Generation
from api_host.config import HostConfig
from api_host.errors import ApiHostError
from api_host.generation import Accepted, Chunk, Finished, GenerationRequest, LoadOptions, Timings, Usage
from api_host.models.cache import CachedModel
from api_host.models.pool.pool import ModelPool
from api_host.pipeline import Pipeline
from tests.fakes.worker import FakeSource, FakeWorker, FakeWorkers

A, B = "o/a/a.gguf", "o/b/b.gguf"
ANSWER = [Accepted(A, 3), Chunk("Hi", 0, 1, "stop"), Finished(Usage(3, 1), Timings())]


class House:
    """A pipeline with what it stands on."""

    def __init__(self, folder: Path) -> None:
        self.workers = FakeWorkers()
        self.source = FakeSource(folder)
        config = HostConfig.from_arguments(memory_budget=100_000, load_cooldown=0.05)
        self.pool = ModelPool(config, self.source, self.workers)
        cached = CachedModel("o/disk/d.gguf", folder / "d.gguf", 77, 0.0)
        self.pipeline = Pipeline(self.pool, A, lambda: [cached])

    def ask(self, model: str | None = A, **options: Any) -> Generation:
        return self.pipeline.generate(GenerationRequest("Hello", model, options=LoadOptions(**options)))

    def silent_worker(self) -> FakeWorker:
        """The worker of model A, which from now on says only what a test says for it."""
        list(self.ask())
        worker = self.workers.started[-1]
        worker.silent = True
        return worker

    def is_free(self, name: str = A) -> bool:
        """Whether nobody holds the model any more."""
        try:
            self.pool.unload(name)
        except ApiHostError:
            return False
        return True
