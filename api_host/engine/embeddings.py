"""Requests for embeddings: texts of several requests share a batch, one batch a step beside the running sequences.

Knows nothing of llama.cpp and of vocabularies: it drives an Embedder, and is given what reads a text.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from api_host.engine.backend import DecodeFailed
from api_host.engine.messages import Embedded, RequestFailed, WorkerEvent
from api_host.errors import ApiHostError, GenerationFailed, QueueFull

# Tokens in one batch while sequences run, so that a step stays short; a longer text still goes in whole.
BATCH_TOKENS = 512
BATCH_TEXTS = 32
# Characters of texts that one step reads, so that running texts need not wait until all are tokenized; a text has at
# least so many.
READ_CHARACTERS = 64 * 1024
SHORTEST_TEXT = 16

# A text as it came, its number in the request, and whether it is cut when it is too long; raises an ApiHostError.
ReadText = Callable[[str | list[int], int, bool], "array[int]"]


class Vector(Protocol):
    """What an embedder makes: a float32 array."""

    def tobytes(self) -> bytes: ...


class Embedder(Protocol):
    """Turns token arrays into vectors; ``n_ctx`` bounds a text."""

    n_ctx: int

    def embed(self, texts: list[array[int]]) -> Sequence[Vector | None]:
        """None where a text, or one beside it, has led to what are no numbers."""
        ...


@dataclass
class EmbedRequest:
    """What is to be read yet, the texts that are read, and the vectors that are ready, by the text's index."""

    id: int
    unread: deque[str | list[int]]
    truncate: bool
    texts: list[array[int]] = field(default_factory=list)
    vectors: dict[int, bytes] = field(default_factory=dict)


class Embeddings:
    """The queue of one worker.

    Args:
        embedder: makes the vectors.
        read_text: the tokens of a text, no more than ``embedder.n_ctx``.
        queue_limit: requests that may wait.
    """

    def __init__(self, embedder: Embedder, read_text: ReadText, queue_limit: int) -> None:
        self._embedder = embedder
        self._read_text = read_text
        self._queue_limit = queue_limit
        self._requests: dict[int, EmbedRequest] = {}
        self._unread: deque[EmbedRequest] = deque()
        self._waiting: deque[tuple[EmbedRequest, int]] = deque()
        self._events: list[WorkerEvent] = []

    @property
    def has_work(self) -> bool:
        return bool(self._unread or self._waiting)

    @property
    def has_events(self) -> bool:
        return bool(self._events)

    def take_events(self) -> list[WorkerEvent]:
        events, self._events = self._events, []
        return events

    def submit(self, id: int, texts: list[str | list[int]], truncate: bool = False) -> None:
        """Takes a request of one text or more; ``truncate`` cuts those that are too long.

        They are read in steps: what is wrong with one is an event, and none of the request is embedded.

        Raises:
            QueueFull: too many wait.
        """
        if len(self._requests) >= self._queue_limit:
            raise QueueFull(
                f"{self._queue_limit} requests for embeddings are waiting already; try again later",
                retry_after=5,
                limit=self._queue_limit,
            )
        self._requests[id] = request = EmbedRequest(id, deque(texts), truncate)
        self._unread.append(request)

    def cancel(self, id: int) -> None:
        request = self._requests.pop(id, None)
        if request is not None:
            self._unread = deque(one for one in self._unread if one is not request)
            self._waiting = deque(entry for entry in self._waiting if entry[0] is not request)

    def step(self) -> None:
        """Reads some texts, and embeds one batch: the oldest that fit it together."""
        self._read()
        if self._waiting:
            self._embed()

    def _read(self) -> None:
        """Reads on where the last step has ended; a request waits for batches once all of its texts are right."""
        left = READ_CHARACTERS
        while self._unread and left > 0:
            request = self._unread[0]
            text = request.unread.popleft()
            left -= max(SHORTEST_TEXT, len(text))
            try:
                request.texts.append(self._read_text(text, len(request.texts), request.truncate))
            except ApiHostError as error:
                self._refuse(request.id, error)
                continue
            if not request.unread:
                self._unread.popleft()
                self._waiting.extend((request, index) for index in range(len(request.texts)))

    def _embed(self) -> None:
        batch: list[tuple[EmbedRequest, int]] = []
        n_tokens = 0
        while self._waiting and len(batch) < BATCH_TEXTS:
            request, index = self._waiting[0]
            n_tokens += len(request.texts[index])
            if batch and n_tokens > min(BATCH_TOKENS, self._embedder.n_ctx):
                break
            batch.append(self._waiting.popleft())
        try:
            vectors = self._vectors([request.texts[index] for request, index in batch])
        except DecodeFailed as error:
            failed = GenerationFailed(f"llama.cpp could not embed these texts ({error})")
            for id in {request.id for request, _ in batch}:
                self._refuse(id, failed)
            return
        for (request, index), vector in zip(batch, vectors, strict=True):
            if request.id not in self._requests:
                continue
            if vector is None:
                self._refuse(request.id, _no_numbers(index))
                continue
            request.vectors[index] = vector.tobytes()
            if len(request.vectors) == len(request.texts):
                self._finish(request)

    def _vectors(self, texts: list[array[int]]) -> Sequence[Vector | None]:
        """A vector a text; where there are no numbers, each text is tried alone, so that none suffers from another."""
        vectors = self._embedder.embed(texts)
        if len(texts) > 1 and any(vector is None for vector in vectors):
            return [self._embedder.embed([text])[0] for text in texts]
        return vectors

    def _finish(self, request: EmbedRequest) -> None:
        del self._requests[request.id]
        vectors = [request.vectors[index] for index in range(len(request.texts))]
        self._events.append(Embedded(request.id, vectors, sum(map(len, request.texts))))

    def _refuse(self, id: int, error: ApiHostError) -> None:
        self.cancel(id)
        details = {**error.details, "retry_after": error.retry_after}
        self._events.append(RequestFailed(id, error.code, error.message, details))


def _no_numbers(index: int) -> GenerationFailed:
    return GenerationFailed(
        f"inputs: text {index} has no vector: what this model computes of it are no numbers; leave it out, or ask "
        "another model or another quantization of this one"
    )
