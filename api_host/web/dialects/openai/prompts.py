"""Several prompts of one request as one generation: they run side by side, and their events come in order.

Knows nothing of HTTP. All are asked for before the first is read to its end, so that the engine batches them, and
one that does not fit is refused before anything is answered.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace

from api_host.errors import GenerationFailed
from api_host.generation import Accepted, Chunk, Event, Finished, Timings, Usage
from api_host.web.streaming import Generation

_NO_ANSWER = "a prompt's generation ended without an answer; send the request again"


class Prompts:
    """The generations of all prompts, as one; the choices of prompt ``i`` are numbered from ``i * n``.

    Args:
        generations: one a prompt, at least one.
        n: choices of each.
        echo: whether each choice begins with its prompt; the generations have to tell it then.
    """

    def __init__(self, generations: Sequence[Generation], n: int, echo: bool) -> None:
        self._generations = generations
        self._n = n
        self._echo = echo

    def __iter__(self) -> Iterator[Event]:
        with contextlib.ExitStack() as left:
            running = [iter(generation) for generation in self._generations]
            for events in running:
                left.callback(getattr(events, "close", lambda: None))
            ended: list[Finished] = []
            while len(ended) < len(running):
                wave = yield from _accept(running[len(ended) :])
                if not ended:
                    yield replace(wave[0], n_prompt_tokens=sum(told.n_prompt_tokens for told in wave))
                for accepted in wave:
                    ended.append((yield from self._answer(len(ended), running[len(ended)], accepted)))
            yield Finished(_usage(ended), _timings(ended))

    def cancel(self) -> None:
        for generation in self._generations:
            generation.cancel()

    def _answer(
        self, prompt: int, events: Iterator[Event], accepted: Accepted
    ) -> Generator[Event, None, Finished]:
        first = prompt * self._n
        if self._echo:
            yield from (Chunk(accepted.prompt or "", first + choice) for choice in range(self._n))
        ended: Finished | None = None
        for event in events:  # to its very end, for only then it has let the model go
            if isinstance(event, Finished):
                ended = event
            else:
                yield replace(event, index=first + event.index) if isinstance(event, Chunk) else event
        if ended is None:
            raise GenerationFailed(_NO_ANSWER)
        return ended


def _accept(waiting: Sequence[Iterator[Event]]) -> Generator[Event, None, list[Accepted]]:
    """Has prompts accepted, the first one whatever it takes.

    The others only as long as they need not wait: one that waits for the model may wait for those before it to let
    the model go.
    """
    accepted: list[Accepted] = []
    for events in waiting:
        for event in events:
            if isinstance(event, Accepted):
                accepted.append(event)
                break
            yield event
            if accepted:
                return accepted
        else:
            raise GenerationFailed(_NO_ANSWER)
    return accepted


def _usage(ended: list[Finished]) -> Usage:
    return Usage(
        prompt_tokens=sum(end.usage.prompt_tokens for end in ended),
        completion_tokens=sum(end.usage.completion_tokens for end in ended),
        cached_tokens=sum(end.usage.cached_tokens for end in ended),
    )


def _timings(ended: list[Finished]) -> Timings:
    return Timings(
        queued=sum(end.timings.queued for end in ended),
        prefill=sum(end.timings.prefill for end in ended),
        decode=sum(end.timings.decode for end in ended),
    )
