"""What the worker has to say, on its way to the host: pieces of text that lie close together travel together.

Each frame wakes two threads of the host, which share the cores with the model on a CPU; forty milliseconds are below
what a reader or a network would notice. First pieces and ends never wait. Knows nothing of how pieces come about.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from api_host.engine.messages import EngineStats, Piece, RequestFailed, RequestFinished, Step, WorkerEvent

TOGETHER_S = 0.04


class Outbox:
    """Sends a worker's events in frames.

    Args:
        send: takes a frame.
        clock: seconds; monotonic.
    """

    def __init__(self, send: Callable[[Step], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._send = send
        self._clock = clock
        self._held: list[WorkerEvent] = []
        self._sent_at = float("-inf")
        self._stats = EngineStats()
        self._begun: set[tuple[int, int]] = set()
        self._one_by_one: set[int] = set()

    def keep_apart(self, id: int) -> None:
        """No two pieces of this request travel together."""
        self._one_by_one.add(id)

    def put(self, events: list[WorkerEvent], stats: EngineStats, *, wait: bool) -> None:
        """Takes the events of a step; ``wait`` says that the next step is soon over, so that they may."""
        urgent = False
        for event in events:
            urgent = self._take(event) or urgent
        if urgent or not wait or self._clock() - self._sent_at >= TOGETHER_S:
            self._flush(stats)

    def _flush(self, stats: EngineStats) -> None:
        if self._held or stats != self._stats:
            events, self._held = self._held, []
            self._send(Step(events, stats))
            self._stats = stats
            self._sent_at = self._clock()

    def _take(self, event: WorkerEvent) -> bool:
        """Holds an event; returns whether it must go at once."""
        if not isinstance(event, Piece):
            self._held.append(event)
            if isinstance(event, RequestFinished | RequestFailed):
                self.forget(event.id)
            return True
        choice = (event.id, event.index)
        last = self._held_piece(choice)
        if last is not None:
            _join(last, event)
        else:
            self._held.append(event)
        urgent = event.finish_reason is not None or choice not in self._begun
        self._begun.add(choice)
        return urgent or event.id in self._one_by_one

    def _held_piece(self, choice: tuple[int, int]) -> Piece | None:
        """The piece of the same choice that still waits; there is at most one."""
        for held in self._held:
            if isinstance(held, Piece) and (held.id, held.index) == choice:
                return held
        return None

    def forget(self, id: int) -> None:
        """The request has ended; one that is cancelled says so by no event."""
        self._one_by_one.discard(id)
        self._begun = {choice for choice in self._begun if choice[0] != id}


def _join(piece: Piece, further: Piece) -> None:
    piece.text += further.text
    piece.n_tokens += further.n_tokens
    piece.finish_reason = further.finish_reason
    if further.logprobs is not None:
        piece.logprobs = [*(piece.logprobs or []), *further.logprobs]
