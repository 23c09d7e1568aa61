"""One request on its way: its adapters are fetched, its model is waited for, it runs, and its events come out.

Knows nothing of HTTP and nothing of what is behind a worker.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable, Iterator

from api_host.config import KEEP_ALIVE_S
from api_host.engine.messages import Embedded, Piece, RequestAccepted, RequestFinished, WorkerEvent
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
    Waiting,
)
from api_host.models.pool.lease import Lease
from api_host.models.pool.loaded import Answer, LoadedModel
from api_host.models.pool.pool import ModelPool
from api_host.models.reference import ModelRef, parse_reference
from api_host.pulling import Pull

PROGRESS_EVERY_S = 1.0


class Generation:
    """One request on its way. Iterate once; each event is one of api_host.generation's.

    Iteration yields Waiting while there is nothing to show, Accepted once, Chunk after Chunk, and Finished at the
    end, or raises an ApiHostError. However it ends, also when it is left half-way, its place is free again.

    Args:
        pool: has the model.
        ref: the model.
        options: how it is to be loaded.
        request: what to generate or to embed; None only loads the model.
        count_only: ends as soon as the prompt's tokens are counted.
    """

    def __init__(
        self,
        pool: ModelPool,
        ref: ModelRef,
        options: LoadOptions,
        request: GenerationRequest | EmbeddingRequest | None,
        *,
        count_only: bool = False,
    ) -> None:
        self._pool = pool
        self._ref = ref
        self._options = options
        self._request = request
        self._count_only = count_only
        self._adapters: list[tuple[str, float]] = []
        self._lock = threading.Lock()
        self._cancelled = False
        self._cancel_stage: Callable[[], None] | None = None

    def __iter__(self) -> Iterator[Event]:
        self._check()
        yield from self._fetch_adapters()
        lease = self._pool.acquire(self._ref, self._options)
        try:
            self._enter(lease.cancel)
            yield from self._wait(lease)
            if self._request is None:
                yield Accepted(self._ref.name, 0)
                yield Finished(Usage(), Timings())
            else:
                yield from self._run(lease, self._request)
        finally:
            self._enter(None)
            lease.release()

    def cancel(self) -> None:
        """Ends the request at whatever stage it is; iteration then raises Cancelled. Safe from any thread, at once."""
        with self._lock:
            self._cancelled = True
            stage = self._cancel_stage
        if stage is not None:
            stage()

    def _enter(self, cancel_stage: Callable[[], None] | None) -> None:
        """From here on ``cancel`` means ``cancel_stage``; a cancel that came before is made up for."""
        with self._lock:
            self._cancel_stage = cancel_stage
            missed = self._cancelled
        if missed and cancel_stage is not None:
            cancel_stage()

    def _check(self) -> None:
        if self._cancelled:
            raise Cancelled("the request was cancelled")

    def _wait(self, lease: Lease) -> Iterator[Waiting]:
        timeout = 0.0
        while not lease.wait(timeout):
            yield lease.waiting()
            timeout = PROGRESS_EVERY_S

    def _fetch_adapters(self) -> Iterator[Waiting]:
        """Has the files of the request's LoRA adapters on this disk; of one named twice llama.cpp takes one scale."""
        if not isinstance(self._request, GenerationRequest):
            return
        scales: dict[str, float] = {}
        for adapter in self._request.lora or ():
            ref = parse_reference(adapter.model)
            pull = Pull(self._pool.source, ref)
            self._enter(pull.cancel)
            for event in pull:
                if isinstance(event, Waiting):
                    yield event
            path = self._pool.source.locate(ref)
            if path is None:
                raise ModelFileNotFound(
                    f"{ref.name} was removed while it was asked for; send the request again"
                )
            scales[str(path)] = scales.get(str(path), 0.0) + adapter.scale
        self._adapters = list(scales.items())

    def _ask(self, loaded: LoadedModel, request: GenerationRequest | EmbeddingRequest) -> Answer:
        if isinstance(request, EmbeddingRequest):
            return loaded.worker.embed(request.inputs, truncate=request.truncate)
        asked = self._options.ctx_length
        bound = asked if asked is not None and asked < loaded.info.n_ctx else None
        return loaded.worker.generate(request, bound, count_only=self._count_only, adapters=self._adapters)

    def _run(self, lease: Lease, request: GenerationRequest | EmbeddingRequest) -> Iterator[Event]:
        answer = self._ask(lease.loaded, request)
        finished = False
        try:
            # The worker is told below: one that hangs must not hold up whoever cancels, which watches all clients.
            self._enter(answer.interrupt)
            for event in self._events(answer, lease):
                finished = isinstance(event, Finished)
                yield event
        finally:
            if not finished:
                answer.cancel()

    def _events(self, answer: Answer, lease: Lease) -> Iterator[Event]:
        while True:
            match self._next(answer):
                case None:
                    queued = lease.loaded.worker.stats.n_waiting > 0
                    yield Waiting("queued" if queued else "prefill")
                case RequestAccepted(n_prompt_tokens=n_prompt_tokens, prompt=prompt):
                    yield Accepted(self._ref.name, n_prompt_tokens, prompt, answer.ready)
                case Piece() as piece:
                    yield Chunk(piece.text, piece.index, piece.n_tokens, piece.finish_reason, piece.logprobs)
                case RequestFinished(usage=usage, timings=timings, tokens=tokens):
                    yield Finished(usage, timings, tokens)
                    return
                case Embedded(vectors=vectors, n_tokens=n_tokens):
                    yield Accepted(self._ref.name, n_tokens)
                    yield Vectors([_floats(vector) for vector in vectors])
                    yield Finished(Usage(prompt_tokens=n_tokens), Timings())
                    return

    def _next(self, answer: Answer) -> WorkerEvent | None:
        try:
            event = answer.get(KEEP_ALIVE_S)
        except Cancelled:
            self._check()
            # By nobody who asked: the host stops, which the pool says.
            self._pool.check(self._ref, self._options)
            raise
        self._check()
        return event


def _floats(vector: bytes) -> list[float]:
    """A vector as the worker packs it: little-endian float32."""
    return list(struct.unpack(f"<{len(vector) // 4}f", vector))
