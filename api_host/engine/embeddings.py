"""Requests for embeddings: texts of several requests share a batch, one batch a step beside the running sequences.

Knows nothing of llama.cpp: it drives an Embedder.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from api_host.engine.backend import DecodeFailed
from api_host.engine.messages import Embedded, RequestFailed, WorkerEvent
from api_host.errors import ContextLengthExceeded, GenerationFailed, QueueFull

# Tokens in one batch while sequences run, so that a step stays short; a longer text still goes in whole.
BATCH_TOKENS = 512
BATCH_TEXTS = 32


class Vector(Protocol):
    """What an embedder makes: a float32 array."""

    def tobytes(self) -> bytes: ...


class Embedder(Protocol):
    """Turns token arrays into vectors; ``n_ctx`` bounds a text."""

    n_ctx: int

    def embed(self, texts: list[array[int]]) -> Sequence[Vector]: ...


@dataclass
class EmbedRequest:
    """The texts of one request, and the vectors that are ready, by the text's index."""

    id: int
    texts: list[array[int]]
    vectors: dict[int, bytes] = field(default_factory=dict)


class Embeddings:
    """The queue of one worker.

    Args:
        embedder: makes the vectors.
        queue_limit: requests that may wait.
    """

    def __init__(self, embedder: Embedder, queue_limit: int) -> None:
        self._embedder = embedder
        self._queue_limit = queue_limit
        self._requests: dict[int, EmbedRequest] = {}
        self._waiting: deque[tuple[EmbedRequest, int]] = deque()
        self._events: list[WorkerEvent] = []

    @property
    def has_work(self) -> bool:
        return bool(self._waiting)

    @property
    def has_events(self) -> bool:
        return bool(self._events)

    def take_events(self) -> list[WorkerEvent]:
        events, self._events = self._events, []
        return events

    def submit(self, id: int, texts: list[array[int]], truncate: bool = False) -> None:
        """Takes a request; ``truncate`` cuts texts that are too long.

        Raises:
            ContextLengthExceeded: a text is too long; it names which. QueueFull.
        """
        if truncate:
            texts = [tokens[: self._embedder.n_ctx] for tokens in texts]
        for index, tokens in enumerate(texts):
            if len(tokens) > self._embedder.n_ctx:
                raise ContextLengthExceeded(
                    f"inputs: text {index} has {len(tokens)} tokens and this model embeds at most "
                    f"{self._embedder.n_ctx}; split it",
                    n_prompt_tokens=len(tokens),
                    n_ctx=self._embedder.n_ctx,
                )
        if len(self._requests) >= self._queue_limit:
            raise QueueFull(
                f"{self._queue_limit} requests for embeddings are waiting already; try again later",
                retry_after=5,
                limit=self._queue_limit,
            )
        self._requests[id] = request = EmbedRequest(id, texts)
        self._waiting.extend((request, index) for index in range(len(texts)))

    def cancel(self, id: int) -> None:
        request = self._requests.pop(id, None)
        if request is not None:
            self._waiting = deque(entry for entry in self._waiting if entry[0] is not request)

    def step(self) -> None:
        """One batch: the oldest texts that fit it together."""
        if not self._waiting:
            return
        batch: list[tuple[EmbedRequest, int]] = []
        n_tokens = 0
        while self._waiting and len(batch) < BATCH_TEXTS:
            request, index = self._waiting[0]
            n_tokens += len(request.texts[index])
            if batch and n_tokens > min(BATCH_TOKENS, self._embedder.n_ctx):
                break
            batch.append(self._waiting.popleft())
        try:
            vectors = self._embedder.embed([request.texts[index] for request, index in batch])
        except DecodeFailed as error:
            self._fail({request.id for request, _ in batch}, error)
            return
        for (request, index), vector in zip(batch, vectors, strict=True):
            request.vectors[index] = vector.tobytes()
            if len(request.vectors) == len(request.texts):
                self._finish(request)

    def _finish(self, request: EmbedRequest) -> None:
        del self._requests[request.id]
        vectors = [request.vectors[index] for index in range(len(request.texts))]
        self._events.append(Embedded(request.id, vectors, sum(map(len, request.texts))))

    def _fail(self, ids: set[int], error: DecodeFailed) -> None:
        for id in ids:
            self.cancel(id)
            failed = GenerationFailed(f"llama.cpp could not embed these texts ({error})")
            self._events.append(RequestFailed(id, failed.code, failed.message))
