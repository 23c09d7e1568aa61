"""Generations beside the engine: one that plays a kept answer, and one that keeps what it lets pass.

Knows events, neither keys nor stores.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Protocol

from api_host.errors import Cancelled
from api_host.generation import Event, Finished
from api_host.response_cache.answer import Fold, KeptAnswer


class Generation(Protocol):
    """What a pipeline answers with."""

    def __iter__(self) -> Iterator[Event]: ...

    def cancel(self) -> None: ...


class Replay:
    """A kept answer as events: Accepted, the chunks, Finished; the tokens of the prompt cost nothing.

    Args:
        answer: as it was kept.
    """

    def __init__(self, answer: KeptAnswer) -> None:
        self._answer = answer
        self._cancelled = False

    def __iter__(self) -> Iterator[Event]:
        finished = self._answer.finished
        usage = dataclasses.replace(finished.usage, cached_tokens=finished.usage.prompt_tokens)
        ended = dataclasses.replace(finished, usage=usage)
        events: list[Event] = [self._answer.accepted, *self._answer.chunks, ended]
        for event in events:
            if self._cancelled:
                raise Cancelled("the request was cancelled")
            yield event

    def cancel(self) -> None:
        """Ends it; iteration then raises Cancelled. Safe from any thread."""
        self._cancelled = True


class Recording:
    """A generation that hands over its answer when that is whole.

    Args:
        generation: the one whose events pass.
        keep: called with the whole answer before its last event passes, so that who has read an answer to its end
            finds it kept; never for one that fails, is cancelled or left half-way.
        in_pieces: whether the chunks are kept as they come.
    """

    def __init__(
        self, generation: Generation, keep: Callable[[KeptAnswer], None], in_pieces: bool = False
    ) -> None:
        self._generation = generation
        self._in_pieces = in_pieces
        self._keep = keep

    def __iter__(self) -> Iterator[Event]:
        fold = Fold(self._in_pieces)
        events = iter(self._generation)
        try:
            for event in events:
                fold.take(event)
                if isinstance(event, Finished) and (answer := fold.whole(event)) is not None:
                    self._keep(answer)
                yield event
        finally:
            # A generation that is left half-way frees its place when its iterator is closed.
            close = getattr(events, "close", None)
            if close is not None:
                close()

    def cancel(self) -> None:
        """Ends the generation behind it. Safe from any thread."""
        self._generation.cancel()
