"""A streamed answer: the native dialect's events, one by one, as an iterator of chunks.

Reads from a response that is open already; opens and repeats nothing. A stream that ends without ``done`` or
``error`` is cut, and cut is an error.
"""

from __future__ import annotations

import json
import socket
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import TracebackType
from typing import Any

import requests

from api_host_client.connection import IMPOSSIBLE_CHUNKS, is_timeout
from api_host_client.errors import StreamCut
from api_host_client.reply import Scrub, host_error
from api_host_client.sse import EventDecoder, ServerEvent
from api_host_client.types import Answer, Choice, Chunk, Timings, Usage, Waiting, record

_CUT = "the connection to the host was lost on the way; what had come is in .text: ask again"
_SILENT = "nothing came from the host within the timeout; what had come is in .text: ask again"
_DRAIN_S = 0.25
_DRAIN_PIECES = 4


class Stream:
    """Iterates over the chunks of one answer; also a context manager.

    ``text`` is what has come of choice 0. After the last chunk ``model``, ``usage``, ``timings`` and
    ``finish_reason`` are set; before it they are None. ``waiting`` is the host's last word on why there is no
    text yet. Leaving the loop early and dropping the stream, or ``close``, ends the generation on the host.

    Raises, while it is iterated:
        HostError: a late error of the host, with the same type that its status would have.
        StreamCut: the stream ended without its last event; carries the text so far.
    """

    def __init__(
        self, response: requests.Response, scrub: Scrub, on_waiting: Callable[[Waiting], None] | None = None
    ) -> None:
        self.model: str | None = None
        self.usage: Usage | None = None
        self.timings: Timings | None = None
        self.finish_reason: str | None = None
        self.waiting: Waiting | None = None
        self._response = response
        self._scrub = scrub
        self._on_waiting = on_waiting
        self._pieces = _as_they_come(response)
        self._decoder = EventDecoder()
        self._events: deque[ServerEvent] = deque()
        self._texts: defaultdict[int, list[str]] = defaultdict(list)
        self._reasons: dict[int, str] = {}
        self._ended = False

    def __iter__(self) -> Stream:
        return self

    def __next__(self) -> Chunk:
        try:
            while not self._ended:
                chunk = self._take(self._next_event())
                if chunk:
                    return chunk
        except BaseException:
            closed_elsewhere = self._ended
            self.close()
            if not closed_elsewhere:
                raise
        raise StopIteration

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def text(self) -> str:
        return "".join(self._texts.get(0, ()))

    @property
    def texts(self) -> dict[int, str]:
        """What has come of each choice, by its index."""
        return {index: "".join(pieces) for index, pieces in sorted(self._texts.items())}

    def answer(self) -> Answer:
        """Reads the rest and returns all of it as one answer."""
        for _ in self:
            pass
        texts = self.texts or {0: ""}
        choices = [
            Choice(text, index, finish_reason=self._reasons.get(index, self.finish_reason))
            for index, text in texts.items()
        ]
        return Answer(
            text=self.text,
            model=self.model,
            usage=self.usage or Usage(),
            timings=self.timings or Timings(),
            finish_reason=self.finish_reason,
            choices=choices,
        )

    def close(self) -> None:
        """Hangs up, which ends the generation on the host; may be called from another thread, and twice."""
        if not self._ended:
            self._ended = True
            self._wake_reader()
        self._response.close()

    def _next_event(self) -> ServerEvent:
        while not self._events:
            try:
                received = next(self._pieces)
            except StopIteration:
                raise StreamCut(_CUT, texts=self.texts) from None
            except requests.RequestException as error:
                raise StreamCut(_SILENT if is_timeout(error) else _CUT, texts=self.texts) from None
            except IMPOSSIBLE_CHUNKS:
                raise self._broken() from None
            self._events.extend(self._decoder.feed(received))
        return self._events.popleft()

    def _take(self, event: ServerEvent) -> Chunk | None:
        """What an event means; events of an unknown name mean nothing."""
        if event.event not in ("message", "status", "done", "error"):
            return None
        body = self._object(event)
        if event.event == "error":
            raise host_error(self._scrub(body), status=500)
        if event.event == "status":
            self.waiting = Waiting.from_json(body)
            if self._on_waiting:
                self._on_waiting(self.waiting)
            return None
        if event.event == "done":
            self._finish(body)
            return None
        return self._chunk(body)

    def _chunk(self, body: dict[str, Any]) -> Chunk:
        chunk = record(Chunk, body)
        reason = chunk.finish_reason
        if not (
            isinstance(chunk.text, str) and isinstance(chunk.index, int) and isinstance(reason, str | None)
        ):
            raise self._broken()
        self._texts[chunk.index].append(chunk.text)
        if chunk.finish_reason:
            self._reasons[chunk.index] = chunk.finish_reason
        return chunk

    def _finish(self, body: dict[str, Any]) -> None:
        self.model = body.get("model")
        self.usage = record(Usage, body.get("usage"))
        self.timings = record(Timings, body.get("timings"))
        self.finish_reason = body.get("finish_reason") or self._reasons.get(0)
        self._ended = True
        self._drain()

    def _object(self, event: ServerEvent) -> dict[str, Any]:
        try:
            body = json.loads(event.data)
        except (ValueError, RecursionError):
            body = None
        if not isinstance(body, dict):
            raise self._broken()
        return body

    def _broken(self) -> StreamCut:
        told = "an event of the stream is broken; what had come is in .text: ask again"
        return StreamCut(told, texts=self.texts)

    def _drain(self) -> None:
        """Reads the last bytes of a finished answer, so that its connection can serve the next request.

        They come at once or not at all, hence the short timeout; the next request sets its own.
        """
        sock = self._socket()
        if sock is not None:
            with suppress(requests.RequestException, OSError, *IMPOSSIBLE_CHUNKS):
                sock.settimeout(_DRAIN_S)
                for _ in zip(range(_DRAIN_PIECES), self._pieces, strict=False):
                    pass
        self._response.close()

    def _wake_reader(self) -> None:
        """Ends a read that another thread is waiting in: closing the file alone would wait for that read."""
        sock = self._socket()
        if sock is not None:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _socket(self) -> socket.socket | None:
        found = getattr(getattr(self._response.raw, "connection", None), "sock", None)
        return found if isinstance(found, socket.socket) else None


def _as_they_come(response: requests.Response) -> Iterator[bytes]:
    """The body in pieces, each as soon as it is here.

    A chunked body is handed out chunk by chunk. Any other is read byte by byte (from a buffer): a larger read
    would wait until it is full.
    """
    chunked = getattr(response.raw, "chunked", False)
    pieces: Iterator[bytes] = response.iter_content(None if chunked else 1)
    return pieces
