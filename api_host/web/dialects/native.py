"""The host's own API: ``POST /api`` (and ``POST /``): one request, a JSON answer or server-sent events.

Knows its fields and its shapes; what they do is the pipeline's. The defaults of the sampling parameters are those of
``SamplingParams``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec
from flask import Blueprint, Response, request

from api_host.errors import ApiHostError
from api_host.generation import (
    Accepted,
    Chunk,
    Event,
    Finished,
    GenerationRequest,
    LoadOptions,
    SamplingParams,
    Timings,
    Usage,
    Waiting,
)
from api_host.web.body import read_json
from api_host.web.chat import chat_problems, messages
from api_host.web.failures import late_error_body
from api_host.web.naming import LoadFields, NamedModel, naming_problems
from api_host.web.streaming import Generation, Responder
from api_host.web.validation import Shape, shown

TASKS = ("text_generation", "none")


class Pipeline(Protocol):
    """What this dialect needs of the pipeline."""

    def generate(self, request: GenerationRequest) -> Generation: ...

    def load(self, model: str | None, options: LoadOptions) -> Generation: ...


@dataclass
class Options(LoadFields):
    """``options`` of a request: how the model is loaded, and the chat template of this request alone."""

    chat_format: str | None = None


@dataclass
class Body(NamedModel):
    """The fields of a request."""

    task: str = TASKS[0]
    inputs: Any = None
    parameters: SamplingParams | None = None
    options: Options | None = None
    stream: bool = field(default=False)


def blueprint(pipeline: Pipeline, responder: Responder) -> Blueprint:
    """The dialect's routes on this pipeline."""
    native = Blueprint("native", __name__)

    @native.post("/")
    @native.post("/api")
    def generate() -> Response:
        body = SHAPE.read(read_json(request))
        options = body.options or Options()
        if body.task == "none":
            loading = pipeline.load(body.reference, options.load_options())
            return responder.respond(loading, answer_format(body.stream, LoadAnswer()))
        sampling = body.parameters or SamplingParams()
        generation = pipeline.generate(
            GenerationRequest(
                inputs=body.inputs if isinstance(body.inputs, str) else messages(body.inputs),
                model=body.reference,
                sampling=sampling,
                options=options.load_options(),
                chat_format=options.chat_format,
            )
        )
        return responder.respond(generation, answer_format(body.stream, TextAnswer(sampling.n)))

    return native


def body_problems(body: dict[str, Any]) -> list[str]:
    """What is wrong between the fields of a parsed body, and with those that have several shapes."""
    task = body.get("task", TASKS[0])
    problems = naming_problems(body)
    if task == "embedding":
        problems.append(f'task: "embedding" is not offered by this host yet; allowed: {", ".join(TASKS)}')
    elif isinstance(task, str) and task not in TASKS:
        problems.append(f"task: {shown(task)} is not known; allowed: {', '.join(TASKS)}")
    elif task == TASKS[0]:
        problems += _inputs_problems(body.get("inputs"))
    return problems


def _inputs_problems(inputs: Any) -> list[str]:
    if isinstance(inputs, list):
        return chat_problems(inputs, "inputs")
    if isinstance(inputs, str) and inputs:
        return []
    if inputs is None:
        wrong = "is missing"
    elif inputs == "":
        wrong = "the text is empty"
    else:
        wrong = f"{shown(inputs)} is neither text nor a list"
    return [f"inputs: {wrong}; allowed: a text to complete, or a chat history of role and content"]


SHAPE = Shape(Body, body_problems)


class Answer(Protocol):
    """What an answer adds up to, and what of an event a stream shows at once."""

    def take(self, event: Event) -> None: ...

    def whole(self) -> dict[str, Any]:
        """The plain answer."""

    def summary(self) -> dict[str, Any]:
        """What ends a stream."""


class TextAnswer:
    """The text of a generation of ``n`` choices."""

    def __init__(self, n: int) -> None:
        self._texts: list[list[str]] = [[] for _ in range(n)]
        self._reasons: list[str | None] = [None] * n
        self._model: str | None = None
        self._usage = Usage()
        self._timings = Timings()

    def take(self, event: Event) -> None:
        if isinstance(event, Chunk):
            self._texts[event.index].append(event.text)
            self._reasons[event.index] = event.finish_reason or self._reasons[event.index]
        elif isinstance(event, Accepted):
            self._model = event.model
        elif isinstance(event, Finished):
            self._usage, self._timings = event.usage, event.timings

    def whole(self) -> dict[str, Any]:
        contents = ["".join(pieces) for pieces in self._texts]
        answer: dict[str, Any] = {"answer": {"role": "assistant", "content": contents[0]}}
        if len(contents) > 1:
            answer["answers"] = [
                {"content": content, "finish_reason": reason}
                for content, reason in zip(contents, self._reasons, strict=True)
            ]
        return {**answer, **self.summary()}

    def summary(self) -> dict[str, Any]:
        return {
            "model": self._model,
            "usage": {
                "prompt_tokens": self._usage.prompt_tokens,
                "completion_tokens": self._usage.completion_tokens,
                "cached_tokens": self._usage.cached_tokens,
                "total_tokens": self._usage.total_tokens,
            },
            "timings": timings_body(self._usage, self._timings),
            "finish_reason": self._reasons[0],
        }


def timings_body(usage: Usage, timings: Timings) -> dict[str, float]:
    """Seconds of each phase, and completion tokens a second of decoding (0 when nothing was decoded)."""
    speed = usage.completion_tokens / timings.decode if timings.decode > 0 else 0.0
    return {
        "queued": round(timings.queued, 6),
        "prefill": round(timings.prefill, 6),
        "decode": round(timings.decode, 6),
        "tokens_per_second": round(speed, 2),
    }


class LoadAnswer:
    """A model that has been loaded, and nothing generated."""

    def __init__(self) -> None:
        self._model: str | None = None

    def take(self, event: Event) -> None:
        if isinstance(event, Accepted):
            self._model = event.model

    def whole(self) -> dict[str, Any]:
        return {"answer": None, **self.summary()}

    def summary(self) -> dict[str, Any]:
        return {"model": self._model, "loaded": True}


class PlainFormat:
    """One JSON object, after as many spaces as it takes."""

    content_type = "application/json"
    streamed = False
    keep_alive = b" "

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def feed(self, event: Event) -> bytes:
        self._answer.take(event)
        return msgspec.json.encode(self._answer.whole()) if isinstance(event, Finished) else b""

    def failed(self, error: ApiHostError) -> bytes:
        return msgspec.json.encode(late_error_body(error))


class EventStream:
    """Server-sent events: ``status`` while waiting, unnamed ones with text, then ``done`` or ``error``.

    The format is the HTML standard's, section "Server-sent events".
    """

    content_type = "text/event-stream; charset=utf-8"
    streamed = True
    keep_alive = b":\n\n"

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def feed(self, event: Event) -> bytes:
        self._answer.take(event)
        if isinstance(event, Chunk):
            text = {"text": event.text, "index": event.index, "finish_reason": event.finish_reason}
            return b"data: %b\n\n" % msgspec.json.encode(text)
        if isinstance(event, Waiting):
            return _named("status", {"status": event.status, "progress": event.progress})
        return _named("done", self._answer.summary()) if isinstance(event, Finished) else b""

    def failed(self, error: ApiHostError) -> bytes:
        return _named("error", late_error_body(error))


def _named(name: str, body: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), msgspec.json.encode(body))


def answer_format(stream: bool, answer: Answer) -> PlainFormat | EventStream:
    """How an answer is written: as events, or whole."""
    return EventStream(answer) if stream else PlainFormat(answer)
