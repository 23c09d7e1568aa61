"""A pipeline without models: each request is answered by a script of events, errors and pauses."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

from api_host.errors import Cancelled, ModelFileNotFound
from api_host.generation import (
    Accepted,
    Chunk,
    EmbeddingRequest,
    Event,
    Finished,
    GenerationRequest,
    LoadOptions,
    Timings,
    Usage,
    Vectors,
)
from api_host.models.details import ModelDetails

Step = Event | Exception | float
Script = Callable[[GenerationRequest | None], list[Step]]


def answer(*texts: str, model: str = "demo", pause: float = 0.0) -> list[Step]:
    """The events of an answer in pieces, ``pause`` seconds before each piece."""
    steps: list[Step] = [Accepted(model, 5)]
    for text in texts:
        steps += [pause, Chunk(text, n_tokens=1)] if pause else [Chunk(text, n_tokens=1)]
    usage = Usage(prompt_tokens=5, completion_tokens=len(texts), cached_tokens=2)
    return [*steps, Chunk("", finish_reason="stop"), Finished(usage, Timings(0.25, 0.5, 2.0))]


class FakeGeneration:
    """Plays a script: events are yielded, exceptions raised, numbers are seconds to wait; cancelled at any time."""

    def __init__(self, steps: list[Step]) -> None:
        self.steps = steps
        self.cancelled = threading.Event()
        self.ended = threading.Event()

    def __iter__(self) -> Iterator[Event]:
        try:
            for step in self.steps:
                if isinstance(step, (int, float)):
                    self.cancelled.wait(step)
                if self.cancelled.is_set():
                    raise Cancelled("the request was cancelled")
                if isinstance(step, Exception):
                    raise step
                if not isinstance(step, (int, float)):
                    yield step
        finally:
            self.ended.set()

    def cancel(self) -> None:
        self.cancelled.set()


class FakePipeline:
    """``script`` says how the next requests are answered; what was asked is kept.

    Each is refused with ``refusal`` as it comes, or fails with ``failure`` once it runs, if that is set.
    """

    def __init__(self) -> None:
        self.default_model: str | None = "demo"
        self.known: list[dict[str, Any]] = []
        self.reset()

    def reset(self) -> None:
        self.script: Script = lambda request: answer("Hello", " there")
        self.refusal: Exception | None = None
        self.failure: Exception | None = None
        self.requests: list[GenerationRequest] = []
        self.counted: list[GenerationRequest] = []
        self.embedded: list[EmbeddingRequest] = []
        self.loads: list[tuple[str | None, LoadOptions]] = []
        self.unloaded: list[str] = []
        self.pulled: list[str] = []
        self.on_disk: dict[str, ModelDetails] = {}
        self.generations: list[FakeGeneration] = []
        self.known = [{"name": "demo", "status": "loaded"}]

    def generate(self, request: GenerationRequest) -> FakeGeneration:
        self.requests.append(request)
        return self._play(request)

    def embed(self, request: EmbeddingRequest) -> FakeGeneration:
        """Each text's vector is its length."""
        self.embedded.append(request)
        vectors = Vectors([[float(len(text))] for text in request.inputs])
        return self._begin([Accepted("demo", 0), vectors, Finished(Usage(prompt_tokens=7), Timings())])

    def count(self, request: GenerationRequest) -> FakeGeneration:
        """Every prompt has 5 tokens, as in ``answer``."""
        self.counted.append(request)
        return self._begin([Accepted("demo", 5), Finished(Usage(prompt_tokens=5), Timings())])

    def load(self, model: str | None, options: LoadOptions) -> FakeGeneration:
        self.loads.append((model, options))
        return self._play(None)

    def _play(self, request: GenerationRequest | None) -> FakeGeneration:
        return self._begin(self.script(request))

    def _begin(self, steps: list[Step]) -> FakeGeneration:
        if self.refusal is not None:
            raise self.refusal
        generation = FakeGeneration(steps if self.failure is None else [self.failure])
        self.generations.append(generation)
        return generation

    def unload(self, model: str) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.unloaded.append(model)

    def pull(self, model: str) -> FakeGeneration:
        self.pulled.append(model)
        return self._play(None)

    def details(self, model: str) -> ModelDetails:
        if model not in self.on_disk:
            raise ModelFileNotFound(f"{model} is not on this disk")
        return self.on_disk[model]

    def canonical(self, model: str | None) -> str:
        return model or self.default_model or ""

    def models(self) -> list[dict[str, Any]]:
        return self.known
