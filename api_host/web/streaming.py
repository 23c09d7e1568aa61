"""One way out for every answer: events in, bytes out, at a pace that survives a proxy.

Knows when a byte must go; a dialect's ``Format`` knows which. A plain answer is a stream that is folded: its format
returns nothing until the end. Errors keep their status as long as nothing has been sent: the first byte waits for
the first decisive event, but no longer than a grace. Recording what happened (time to first text, tokens) is done
here too, so that no dialect has to.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from flask import Response

from api_host.errors import ApiHostError, GenerationFailed
from api_host.generation import Accepted, Chunk, Event, Finished, Waiting
from api_host.metrics import Metrics
from api_host.web.cache_control import cache_result, take_cache_result
from api_host.web.current import notes, this_request
from api_host.web.disconnect import DisconnectWatch, Watch
from api_host.web.failures import unexpected

# Where the server leaves, in the WSGI environment, what it takes to notice that a client has gone.
SOCKET_KEY = "werkzeug.socket"
WATCH_KEY = "api_host.disconnect_watch"

STREAM_HEADERS = {"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"}


class Generation(Protocol):
    """What the pipeline answers with: events, at least one each 10 s, until Finished or an ApiHostError."""

    def __iter__(self) -> Iterator[Event]: ...

    def cancel(self) -> None: ...


class Format(Protocol):
    """How a dialect writes one answer.

    ``streamed`` says whether text goes out as it comes; ``keep_alive`` is what goes out when there is nothing to
    say: a comment, or a space before JSON.
    """

    content_type: str
    streamed: bool
    keep_alive: bytes

    def feed(self, event: Event) -> bytes:
        """What to send for this event; empty for nothing."""

    def failed(self, error: ApiHostError) -> bytes:
        """What to send, last, when it fails after the first byte."""


@dataclass(frozen=True)
class Pace:
    """When bytes go, in seconds.

    ``stream_grace`` and ``plain_grace`` bound the wait for the first byte of a streamed and of a plain answer. An
    event without text of its own is answered by a keep-alive when the last byte is ``padding`` old; with an event
    at least each 10 s that is a byte at least each 15 s.
    """

    stream_grace: float = 2.0
    plain_grace: float = 15.0
    padding: float = 5.0


class Passage:
    """The events of one generation, counted as they pass; ``close`` it however it ended.

    Args:
        generation: the events' source; iterated once, by whoever iterates this.
        metrics: where its first text and its tokens are counted.
        started: when it was asked for, by ``time.monotonic``.
        replayed: whether it comes from the response cache: then no token of it was computed.
    """

    def __init__(
        self, generation: Generation, metrics: Metrics, started: float, replayed: bool = False
    ) -> None:
        self.finished = False
        self._generation = generation
        self._events = iter(generation)
        self._metrics = metrics
        self._started = started
        self._has_text = False
        self._replayed = replayed

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        event = next(self._events)
        if isinstance(event, Chunk):
            if not self._replayed:
                self._metrics.tokens_came(event.n_tokens)
            if not self._has_text and event.text:
                self._has_text = True
                self._metrics.first_token(time.monotonic() - self._started)
        elif isinstance(event, Finished):
            self.finished = True
            if not self._replayed:
                self._metrics.generation_finished(event.usage, event.timings)
        return event

    def close(self) -> None:
        """Ends the generation if it still runs; may be called again."""
        if not self.finished:
            self.finished = True
            self._generation.cancel()
        close = getattr(self._events, "close", None)
        if close is not None:
            close()


class Outgoing:
    """One answer on its way out: an iterable of bytes for WSGI, which is closed whatever happens.

    ``status`` is 200, or that of an error which came after the first byte; ``failure`` is what that error says.
    """

    def __init__(self, generation: Generation, form: Format, metrics: Metrics, pace: Pace) -> None:
        self.status = 200
        self.failure: str | None = None
        self._events = Passage(generation, metrics, notes().started, cache_result() == "hit")
        self._form = form
        self._pace = pace
        self._held = b""
        self._watch = _watch_client(generation)

    def hold(self) -> bool:
        """Takes events until the first byte has to go.

        Returns:
            Whether all has ended already, with the whole answer in hand.

        Raises:
            ApiHostError: it failed in time for a status of its own.
        """
        form = self._form
        grace = self._pace.stream_grace if form.streamed else self._pace.plain_grace
        start = previous = time.monotonic()
        for event in self._events:
            self._held += form.feed(event)
            now = time.monotonic()
            if self._events.finished or (form.streamed and _is_decisive(event)):
                break
            # The next event may take as long as this one did: then it would come too late.
            if now - start + (now - previous) >= grace:
                break
            previous = now
        return self._events.finished

    @property
    def held(self) -> bytes:
        """What ``hold`` has gathered for the first byte on."""
        return self._held

    def _send(self) -> Iterator[bytes]:
        yield self._held or self._form.keep_alive
        try:
            yield from self._paced()
        except ApiHostError as error:
            yield self._fail(error)
        except Exception as failure:  # noqa: BLE001 - logged, and told as the last thing
            yield self._fail(unexpected(failure))

    def _paced(self) -> Iterator[bytes]:
        if self._events.finished:
            return
        last = time.monotonic()
        for event in self._events:
            data = self._form.feed(event)
            if not data and time.monotonic() - last >= self._pace.padding:
                data = self._form.keep_alive
            if data:
                yield data
                last = time.monotonic()
            if self._events.finished:
                return
        raise GenerationFailed("the generation ended without an answer; send the request again")

    def _fail(self, error: ApiHostError) -> bytes:
        self.status = error.status
        self.failure = error.message
        return self._form.failed(error)

    def __iter__(self) -> Iterator[bytes]:
        return self._send()

    def close(self) -> None:
        """Ends the watching, and the generation if it still runs; may be called again."""
        if self._watch is not None:
            self._watch.end()
        self._events.close()


def _watch_client(generation: Generation) -> Watch | None:
    environ = this_request().environ
    watch: DisconnectWatch | None = environ.get(WATCH_KEY)
    return None if watch is None else watch.watch(environ[SOCKET_KEY], generation.cancel)


def _cache_header() -> dict[str, str]:
    cache = cache_result()
    return {"X-Cache": cache} if cache is not None else {}


def _is_decisive(event: Event) -> bool:
    """Whether nothing cheap is left to be checked after this event."""
    if isinstance(event, Waiting):
        return event.status in ("queued", "prefill")
    return isinstance(event, Chunk) or (isinstance(event, Accepted) and not event.followed)


class Responder:
    """Makes responses of generations; one for an application.

    Args:
        metrics: where what happened is counted.
        pace: when bytes go.
    """

    def __init__(self, metrics: Metrics, pace: Pace) -> None:
        self._metrics = metrics
        self._pace = pace

    def respond(self, generation: Generation, form: Format) -> Response:
        """The response to the current request. Its client's going cancels the generation, from now on.

        Raises:
            ApiHostError: the generation failed before the first byte.
        """
        outgoing = Outgoing(generation, form, self._metrics, self._pace)
        # The head of a stream is made while its text is waited for.
        headers = {**STREAM_HEADERS, **_cache_header(), "Content-Type": form.content_type}
        stream = Response(outgoing, headers=headers) if form.streamed else None
        try:
            whole = outgoing.hold()
        except BaseException:
            outgoing.close()
            raise
        if stream is None and whole:
            outgoing.close()
            return Response(outgoing.held, content_type=form.content_type, headers=_cache_header())
        return stream or Response(outgoing, headers=headers)

    def follow(self, generation: Generation) -> Passage:
        """A generation's events, counted from now on, for whoever writes them as no response: on a WebSocket."""
        replayed = take_cache_result() == "hit"
        return Passage(generation, self._metrics, time.monotonic(), replayed)
