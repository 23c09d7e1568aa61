"""A cached pipeline before a fake one, with what a test may turn."""

from __future__ import annotations

from typing import Any

from api_host.generation import (
    Event,
    GenerationRequest,
    SamplingParams,
)
from api_host.metrics import Metrics
from api_host.response_cache.cached import CachedPipeline, Use
from api_host.response_cache.memory import MemoryStore
from tests.fakes.pipeline import FakePipeline

GREEDY = SamplingParams(temperature=0)
FILE = "demo.gguf 5"
HI = GenerationRequest("Hi", sampling=GREEDY)


class Ground:
    """A cached pipeline before a fake one, with what a test may turn."""

    def __init__(self) -> None:
        self.behind = FakePipeline()
        self.store = MemoryStore(1_000_000, 100)
        self.metrics = Metrics()
        self.files: dict[str, str | None] = {"demo": FILE}
        self.is_loaded = True
        self.allowed = Use.FULL
        self.result: str | None = None
        self.pipeline = self.make()

    def make(self, scope: str = "", seeded: bool = False) -> CachedPipeline:
        def files_of(models: Any) -> str | None:
            found = [self.files.get(model) for model in models]
            return None if None in found else str(found)

        return CachedPipeline(
            self.behind, self.store, self.metrics, self, files_of, lambda model: self.is_loaded, scope, seeded
        )

    def use(self) -> Use:
        return self.allowed

    def told(self, hit: bool) -> None:
        self.result = "hit" if hit else "miss"

    def ask(self, request: GenerationRequest = HI) -> tuple[str | None, list[Event]]:
        """Whether the cache had the answer, and the events of the answer."""
        self.result = None
        events = list(self.pipeline.generate(request))
        return self.result, events

    def looked_up(self, result: str) -> bool:
        return f'api_host_response_cache_total{{result="{result}"}}' in self.metrics.render()[0].decode()
