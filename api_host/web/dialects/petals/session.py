"""An inference session on a WebSocket: opened by the first frame, then one step of text after another.

Knows frames and what a session remembers, which is its tokens: each step sends all of them and the new text, and the
engine's prefix cache makes it cost only what is new. An error ends the session, as with the original.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import msgspec

from api_host.errors import ApiHostError, GenerationFailed, InvalidRequest
from api_host.generation import Accepted, Chunk, Finished, GenerationRequest, LoadOptions
from api_host.web.dialects.petals.answers import failure
from api_host.web.dialects.petals.fields import (
    GENERATE,
    GENERATE_FRAME,
    MOST_NEW_TOKENS,
    OPEN,
    OPEN_FRAME,
    GenerateFrame,
    json_object,
)
from api_host.web.failures import unexpected
from api_host.web.sockets import Socket, SocketClosed
from api_host.web.streaming import Generation, Passage, Responder
from api_host.web.validation import shown

IDLE_S = 3600.0
# How the engine shows the bytes of a character that its last token did not complete.
HALF_CHARACTER = "\ufffd"
# The longest character has 4 bytes, and the token that completes one may begin another.
MOST_COMPLETING_TOKENS = 8


class SessionFull(InvalidRequest):
    """The session, or the model's context, has no room for another token."""

    code = "session_full"


class SessionIdle(ApiHostError):
    """No frame has come for an hour."""

    status = 408
    code = "session_idle"


class Pipeline(Protocol):
    """What this dialect needs of the pipeline."""

    def generate(self, request: GenerationRequest) -> Generation: ...

    def count(self, request: GenerationRequest) -> Generation: ...

    def load(self, model: str | None, options: LoadOptions) -> Generation: ...


@dataclass
class Part:
    """What one frame says: text, and the number of tokens behind it."""

    text: str = ""
    n_tokens: int = 0

    def add(self, chunk: Chunk) -> None:
        self.text += chunk.text
        self.n_tokens += chunk.n_tokens


class Session:
    """One connection's session; ``run`` it in the view of its socket.

    Args:
        pipeline: where its steps go.
        responder: counts what is generated.
        socket: the client.
    """

    def __init__(self, pipeline: Pipeline, responder: Responder, socket: Socket) -> None:
        self._pipeline = pipeline
        self._responder = responder
        self._socket = socket
        self._model: str | None = None
        self._max_length = 0
        self._tokens: list[int] = []
        # Text that belongs after the tokens, and is none of them yet.
        self._owed = ""

    def run(self) -> None:
        """Answers frames until the client goes or something is wrong, which is told in a last frame.

        Raises:
            SocketClosed: the client has gone.
        """
        try:
            self._open(self._receive(OPEN, "a session begins with it"))
            while True:
                fields = self._receive(GENERATE, "a connection has one session, and this one is open")
                self._step(GENERATE_FRAME.take(fields))
        except SocketClosed:
            raise
        except ApiHostError as error:
            self._send(failure(error))
        except Exception as fault:  # noqa: BLE001 - logged, and told as the last thing
            self._send(failure(unexpected(fault)))

    def _receive(self, kind: str, why: str) -> dict[str, Any]:
        message = self._socket.receive(IDLE_S)
        if message is None:
            raise SessionIdle(f"no frame has come for {IDLE_S:.0f} s; open a new session")
        fields = json_object(message, "the frame")
        if fields.get("type") != kind:
            raise InvalidRequest(
                f"type: {shown(fields.get('type'))} is not allowed here; allowed: {kind}; {why}"
            )
        return fields

    def _send(self, frame: dict[str, Any]) -> None:
        self._socket.send(msgspec.json.encode(frame).decode())

    def _open(self, fields: dict[str, Any]) -> None:
        """Has the model loaded, however long it takes: what is wrong with it is known before the first step."""
        frame = OPEN_FRAME.take(fields)
        self._model, self._max_length = frame.reference, frame.max_length
        with self._follow(self._pipeline.load(self._model, LoadOptions())) as events:
            for _ in events:
                pass
        self._send({"ok": True})

    def _step(self, frame: GenerateFrame) -> None:
        request = self._request(frame)
        part, told, reason, finished = Part(), "", None, None
        with self._follow(self._pipeline.generate(request)) as events:
            for event in events:
                if isinstance(event, Chunk):
                    part.add(event)
                    reason = event.finish_reason
                    if not reason and part.text and part.n_tokens >= frame.tokens_a_frame:
                        self._show(part, stop=False)
                        part, told = Part(), told + part.text
                elif isinstance(event, Finished):
                    finished = event
        finished = _whole(finished)
        self._tokens = finished.tokens or self._tokens
        n_old, self._owed = finished.usage.prompt_tokens, ""
        if reason == "stop":
            told_of_token = self._take_back(n_old, told + part.text) if frame.stops else ""
            self._owed = told_of_token + frame.missing_end(part.text)
        cut = reason == "length"
        if cut and part.text.endswith(HALF_CHARACTER):
            self._complete(part, request, n_old)
        full = cut and not frame.satisfied(finished.usage.completion_tokens, len(self._tokens))
        self._show(part, stop=not full)
        if full:
            raise self._no_room()

    def _request(self, frame: GenerateFrame) -> GenerationRequest:
        """One step as one generation. Raises InvalidRequest."""
        if not frame.inputs and not self._tokens:
            raise InvalidRequest("inputs: is missing; the first step of a session needs a text")
        if len(self._tokens) >= self._max_length:
            raise self._no_room()
        sampling = frame.sampling()
        sampling.max_length = min(frame.max_length or self._max_length, self._max_length)
        if frame.stops:
            sampling = replace(sampling, max_tokens=MOST_NEW_TOKENS, stop=frame.stops, include_stop=True)
        text = self._owed + (frame.inputs or "")
        request = GenerationRequest(text, self._model, sampling)
        request.prefix_tokens, request.want_tokens = self._tokens, True
        request.each_token = bool(frame.stops)
        return request

    def _take_back(self, n_old: int, told: str) -> str:
        """Forgets the last token where a stop sequence ended within it; returns what was told of that token.

        The step began after ``n_old`` tokens, and ``told`` is all its text.
        """
        n_kept = len(self._tokens)
        spelt = self._text(self._tokens[n_old:])
        if not spelt.startswith(told):  # control tokens are not told
            return ""
        # The characters of a token may have begun in the one before.
        while not told.startswith(spelt):
            n_kept -= 1
            spelt = self._text(self._tokens[n_old:n_kept])
        self._tokens = self._tokens[:n_kept]
        return told[len(spelt) :]

    def _complete(self, part: Part, request: GenerationRequest, n_old: int) -> None:
        """Generates on until the last character is whole; where there is no room for that, it is left out.

        The step began after ``n_old`` tokens.
        """
        one = replace(request.sampling, max_tokens=1, max_length=self._max_length)
        n_first = len(self._tokens)
        whole = part.text.rstrip(HALF_CHARACTER)
        # Spelt out, the tokens before have control tokens, which were not told.
        n_before = len(self._text(self._tokens[n_old:])) - (len(part.text) - len(whole))
        for _ in range(MOST_COMPLETING_TOKENS):
            if len(self._tokens) >= self._max_length:
                break
            further = replace(request, inputs="", prefix_tokens=self._tokens, sampling=one)
            self._tokens = self._finish(self._pipeline.generate(further))[1].tokens or self._tokens
            part.text = whole + self._text(self._tokens[n_old:])[n_before:]
            if not part.text.endswith(HALF_CHARACTER):
                break
        part.text = part.text.rstrip(HALF_CHARACTER)
        part.n_tokens += len(self._tokens) - n_first

    def _text(self, tokens: list[int]) -> str:
        """What tokens spell, control tokens included."""
        if not tokens:
            return ""
        question = GenerationRequest("", self._model, prefix_tokens=tokens, want_prompt=True)
        accepted, _ = self._finish(self._pipeline.count(question))
        return (accepted.prompt if accepted else None) or ""

    def _finish(self, generation: Generation) -> tuple[Accepted | None, Finished]:
        accepted, finished = None, None
        with self._follow(generation) as events:
            for event in events:
                accepted = event if isinstance(event, Accepted) else accepted
                finished = event if isinstance(event, Finished) else finished
        return accepted, _whole(finished)

    @contextlib.contextmanager
    def _follow(self, generation: Generation) -> Iterator[Passage]:
        """A generation's events; it is over at once when the client goes, and in any case at the end of the block."""
        with contextlib.closing(self._responder.follow(generation)) as events:
            self._socket.on_gone(generation.cancel)
            yield events
            self._socket.on_gone(None)

    def _show(self, part: Part, *, stop: bool) -> None:
        self._send({"ok": True, "outputs": part.text, "stop": stop, "token_count": part.n_tokens})

    def _no_room(self) -> SessionFull:
        n_tokens = len(self._tokens)
        if n_tokens >= self._max_length:
            return SessionFull(
                f"max_length: all {self._max_length} tokens of this session are used; open a longer one"
            )
        return SessionFull(f"inputs: the model's context is full with {n_tokens} tokens; open a new session")


def _whole(finished: Finished | None) -> Finished:
    if finished is None:
        raise GenerationFailed("the generation ended without an answer; open a new session")
    return finished
