"""``min_length``: a text that, with its prompt, has at least so many tokens.

Knows the pipeline's two questions: how many tokens has this prompt, and what comes after it. The engine counts the
least length of an answer alone, so the prompt is counted first.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Protocol

from api_host.errors import Cancelled
from api_host.generation import Accepted, Event, GenerationRequest, Waiting
from api_host.web.streaming import Generation


class Pipeline(Protocol):
    """What this needs of the pipeline."""

    def generate(self, request: GenerationRequest) -> Generation: ...

    def count(self, request: GenerationRequest) -> Generation: ...


class AtLeast:
    """A generation of at least ``min_length`` tokens, its prompt included; iterate once.

    Raises:
        ApiHostError: as ``pipeline.count``, when it is made; as any generation, when it is iterated over.
    """

    def __init__(self, pipeline: Pipeline, request: GenerationRequest, min_length: int) -> None:
        self._pipeline = pipeline
        self._request = request
        self._min_length = min_length
        self._lock = threading.Lock()
        self._cancelled = False
        # Flask's own, which has ended when a slow count has: the request's headers have a say in what is generated.
        self._context = contextvars.copy_context()
        self._stage = pipeline.count(request)

    def __iter__(self) -> Iterator[Event]:
        n_prompt_tokens = 0
        for event in self._stage:
            if isinstance(event, Waiting):
                yield event
            elif isinstance(event, Accepted):
                n_prompt_tokens = event.n_prompt_tokens
        sampling = self._request.sampling
        least = max(sampling.min_tokens, self._min_length - n_prompt_tokens)
        yield from self._enter(replace(self._request, sampling=replace(sampling, min_tokens=least)))

    def _enter(self, request: GenerationRequest) -> Generation:
        with self._lock:
            if self._cancelled:
                raise Cancelled("the request was cancelled")
            self._stage = self._context.run(self._pipeline.generate, request)
            return self._stage

    def cancel(self) -> None:
        """Ends it at whatever stage it is. Safe from any thread."""
        with self._lock:
            self._cancelled = True
            stage = self._stage
        stage.cancel()
