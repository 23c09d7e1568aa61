"""Continuous batching: each step admits, builds one batch, decodes it, samples, and finishes what has ended.

Knows nothing of sockets or of llama.cpp: it drives a Backend and reports WorkerEvents.
"""

from __future__ import annotations

import functools
import time
from array import array
from collections import deque
from collections.abc import Callable

from api_host.engine.backend import Backend, DecodeFailed, Sampler, Span, Vocabulary
from api_host.engine.batching import Batching
from api_host.engine.detokenizer import Detokenizer
from api_host.engine.guessing import Guesser
from api_host.engine.messages import (
    EngineStats,
    RequestAccepted,
    RequestFailed,
    RequestFinished,
    WorkerEvent,
)
from api_host.engine.parking import Parking
from api_host.engine.prefill import PrefillBudget
from api_host.engine.sequence import Request, Sequence
from api_host.engine.slots import Slots
from api_host.engine.transcript import Transcript
from api_host.errors import ApiHostError, GenerationFailed, QueueFull
from api_host.generation import FinishReason, SamplingParams, TokenLogprob

MakeSampler = Callable[[SamplingParams, "array[int]", int], Sampler]


class Scheduler:
    """Runs requests in slots.

    Args:
        backend: the model's context. ``vocabulary``: its tokens as text.
        make_sampler: from (params, prompt, index of the choice).
        queue_limit: requests that may wait for a slot before one more is refused.
        guesser: guesses tokens, where the model can drop wrong ones; None guesses none.
        prefix_memory: bytes of host memory for prefixes that no slot holds.
        clock: seconds; monotonic.

    ``submit`` and ``cancel`` between steps; ``step`` while ``has_work``; ``take_events`` when they are ``urgent``, and
    else from time to time: text is made of tokens only then.
    """

    def __init__(
        self,
        backend: Backend,
        vocabulary: Vocabulary,
        make_sampler: MakeSampler,
        queue_limit: int = 100,
        guesser: Guesser | None = None,
        prefix_memory: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._backend = backend
        self._vocabulary = vocabulary
        self._make_sampler = make_sampler
        self._queue_limit = queue_limit
        self._guesser = guesser if backend.can_trim else None
        self._clock = clock
        budget = PrefillBudget(backend.n_batch)
        self._slots = Slots(backend, Parking(prefix_memory, clock), budget.seconds)
        self._batching = Batching(budget, self._slots, self._guesser)
        self._requests: dict[int, Request] = {}
        self._waiting: deque[Sequence] = deque()
        self._running: list[Sequence] = []
        self._events: list[WorkerEvent] = []
        self._urgent = False

    @property
    def has_work(self) -> bool:
        return bool(self._waiting or self._running)

    @property
    def only_decodes(self) -> bool:
        """Whether sequences run, and all of them are past their prompts."""
        running = self._running
        if self._batching.goes_on(running):
            return True
        return bool(running) and not any(sequence.prefilling for sequence in running)

    @property
    def stats(self) -> EngineStats:
        return EngineStats(
            n_waiting=self._n_waiting,
            n_running=len(self._running),
            cells_used=self._slots.n_cells,
            cells_total=self._backend.n_ctx * self._backend.n_slots,
        )

    @property
    def _n_waiting(self) -> int:
        """Requests of which a sequence waits for a slot."""
        return len({sequence.request.id for sequence in self._waiting})

    @property
    def urgent(self) -> bool:
        """Whether somebody waits for what there is to say: a first piece, an end, a refusal."""
        return self._urgent or bool(self._events)

    def take_events(self) -> list[WorkerEvent]:
        """What there is to say since the last time."""
        for sequence in self._running:
            self._show(sequence)
        events, self._events, self._urgent = self._events, [], False
        return events

    def submit(self, request: Request) -> None:
        """Accepts a request; it waits for a slot.

        Raises:
            ContextLengthExceeded: prompt and one token do not fit.
            QueueFull: ``queue_limit`` requests are waiting.
            InvalidRequest: a grammar or a schema that is none.
        """
        request.n_ctx = min(request.n_ctx, self._backend.n_ctx)
        request.check_length()
        if self._n_waiting - len(self._slots.idle) >= self._queue_limit:
            raise QueueFull(
                f"{self._queue_limit} requests are waiting for this model already; try again later",
                retry_after=5,
                limit=self._queue_limit,
            )
        request.submitted = self._clock()
        request.sequences = [self._sequence(request, index) for index in range(request.sampling.n)]
        self._make_samplers(request)
        self._requests[request.id] = request
        self._waiting.extend(request.sequences)
        self._events.append(RequestAccepted(request.id, len(request.prompt), request.text))

    def _sequence(self, request: Request, index: int) -> Sequence:
        kept = request.sampling.stop if request.sampling.include_stop else ()
        bytes_of = functools.partial(self._vocabulary.piece, show_control=request.show_control)
        transcript = Transcript(request.id, index, Detokenizer(request.stop, kept), bytes_of)
        return Sequence(request, index, transcript)

    def _make_samplers(self, request: Request) -> None:
        """A sampler for each sequence, or none at all when one of them is refused."""
        try:
            for sequence in request.sequences:
                sequence.sampler = self._make_sampler(request.sampling, request.prompt, sequence.index)
        except ApiHostError:
            self._drop(request)
            raise

    def cancel(self, id: int) -> None:
        """Ends a request without a further event; an unknown id is ignored."""
        request = self._requests.pop(id, None)
        if request is not None:
            self._drop(request)

    def step(self) -> None:
        """One turn: at most one decode."""
        self._batching.learn()
        self._admit()
        spans = self._batching.build(self._running)
        if not spans:
            return
        started = self._clock()
        try:
            self._backend.decode(spans.values(), self._batching.adapters)
        except DecodeFailed as error:
            self._isolate(spans, error)
            return
        # On a GPU it has only begun, and what is known already is booked meanwhile.
        for sequence, span in spans.items():
            self._slots[span.slot].tokens.extend(span.tokens)
            sequence.n_computed += len(span.tokens)
        if self._batching.reads:
            self._backend.wait()
            self._batching.observe(spans, self._clock() - started)
        for sequence, span in spans.items():
            if span.n_outputs and not sequence.finished:
                self._advance(sequence, span)

    def _admit(self) -> None:
        while self._waiting and self._slots.idle and self._slots.place(self._waiting[0]):
            sequence = self._waiting.popleft()
            request = sequence.request
            if request.started is None:
                request.started = self._clock()
            self._running.append(sequence)

    def _advance(self, sequence: Sequence, span: Span) -> None:
        """Samples where logits are; of guesses as far as they are right, and drops the cells of wrong ones."""
        sequence.suspect = False
        try:
            token = self._sample(sequence, span.row)
            if span.n_outputs > 1:
                self._judge(sequence, span, token)
        except ApiHostError as error:
            self._fail(sequence.request, error)

    def _judge(self, sequence: Sequence, span: Span, token: int | None) -> None:
        """Goes on for as long as guesses come true, ``token`` being what was drawn where the first one stands."""
        guess = span.tokens[len(span.tokens) - span.n_outputs + 1 :]
        n_right = 0
        while not sequence.finished and n_right < len(guess) and guess[n_right] == token:
            n_right += 1
            token = self._sample(sequence, span.row + n_right)
        if not sequence.finished:
            assert self._guesser is not None
            self._guesser.judged(sequence, len(guess), n_right)
        if n_right < len(guess):
            kept = sequence.n_computed - (len(guess) - n_right)
            sequence.n_computed = self._slots.trim(self._slots[span.slot], kept)

    def _sample(self, sequence: Sequence, row: int) -> int | None:
        """Draws one token from a row of logits and adds it to the text."""
        assert sequence.sampler is not None
        token = sequence.sampler.sample(row)
        request, transcript = sequence.request, sequence.transcript
        if request.first_token is None:
            request.first_token = self._clock()
        if token is None or self._vocabulary.is_eog(token):
            self._finish(sequence, "stop")
            return token
        sequence.tokens.append(token)
        stopped = transcript.add(token)
        if request.sampling.logprobs is not None:
            self._note_logprobs(sequence, row, token, request.sampling.logprobs)
        if stopped or sequence.sampler.ended:
            self._finish(sequence, "stop")
        elif sequence.at_limit:
            self._finish(sequence, "length")
        elif request.each_token:
            self._show(sequence)
        elif not transcript.begun:
            self._urgent = True
        return token

    def _show(self, sequence: Sequence) -> None:
        piece = sequence.transcript.take()
        if piece is not None:
            self._events.append(piece)

    def _note_logprobs(self, sequence: Sequence, row: int, token: int, n_top: int) -> None:
        assert sequence.sampler is not None
        drawn, *top = [
            TokenLogprob.of(self._vocabulary.piece(id), logprob)
            for id, logprob in sequence.sampler.logprobs(row, token, n_top)
        ]
        drawn.top = top
        sequence.transcript.note(drawn)

    def _finish(self, sequence: Sequence, reason: FinishReason) -> None:
        self._events.append(sequence.transcript.finish(reason))
        self._release(sequence)
        request = sequence.request
        if request.finished:
            del self._requests[request.id]
            timings = request.timings(self._clock())
            self._events.append(RequestFinished(request.id, request.usage, timings, request.tokens))

    def _release(self, sequence: Sequence) -> None:
        sequence.finished = True
        if sequence.sampler is not None:
            sequence.sampler.close()
            sequence.sampler = None
        if self._guesser is not None:
            self._guesser.forget(sequence)
        self._slots.release(sequence)
        if sequence in self._running:
            self._running.remove(sequence)

    def _drop(self, request: Request) -> None:
        self._waiting = deque(sequence for sequence in self._waiting if sequence.request is not request)
        for sequence in request.sequences:
            if not sequence.finished:
                self._release(sequence)

    def _fail(self, request: Request, error: ApiHostError) -> None:
        self._requests.pop(request.id, None)
        self._drop(request)
        self._events.append(RequestFailed(request.id, error.code, error.message, error.details))

    def _isolate(self, spans: dict[Sequence, Span], error: DecodeFailed) -> None:
        """A decode failed: its sequences start over one by one, and the one that fails alone fails its request."""
        self._batching.start_over()
        for span in spans.values():
            self._slots.clear(self._slots[span.slot])
        if len(spans) == 1:
            (sequence,) = spans
            if sequence.suspect or len(self._running) == 1:
                self._fail(
                    sequence.request,
                    GenerationFailed(f"llama.cpp could not go on with this request ({error}); try it again"),
                )
                return
        for sequence in spans:
            sequence.n_computed = sequence.n_cached = 0
            sequence.suspect = True
