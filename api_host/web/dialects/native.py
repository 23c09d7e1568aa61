"""The host's own API: ``POST /api`` (and ``POST /``): one request, a JSON answer or server-sent events.

Knows its fields and its shapes; what they do is the pipeline's. The defaults of the sampling parameters are those of
``SamplingParams``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Protocol

from annotated_types import MaxLen
from flask import Blueprint, Response
from pydantic import WithJsonSchema

from api_host.generation import (
    MAX_ADAPTERS,
    Adapter,
    EmbeddingRequest,
    GenerationRequest,
    LoadOptions,
    SamplingParams,
)
from api_host.web.answers import EmbeddingAnswer, LoadAnswer, TextAnswer, answer_format
from api_host.web.body import read_json
from api_host.web.chat import TURN_SCHEMA, chat_problems, messages
from api_host.web.dialect import Dialect, Operation
from api_host.web.failures import ERROR_SCHEMA, error_response
from api_host.web.naming import LoadFields, NamedModel, naming_problems
from api_host.web.streaming import Generation, Responder
from api_host.web.validation import Shape, shown

TASKS = ("text_generation", "embedding", "none")
MAX_TEXTS = 2048
# Where its clients, and Ollama's, end up that were given a /v1 too many.
_PATHS = ("/v1/api", "/v1/health")

Inputs = Annotated[
    Any,
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string"},
                {"type": "array", "items": {"anyOf": [TURN_SCHEMA, {"type": "string"}]}, "minItems": 1},
                {"type": "null"},
            ]
        }
    ),
]
"""A text, a chat, or the texts to embed; which of them it has to be is the task's to say."""


class Pipeline(Protocol):
    """What this dialect needs of the pipeline."""

    def generate(self, request: GenerationRequest) -> Generation: ...

    def embed(self, request: EmbeddingRequest) -> Generation: ...

    def load(self, model: str | None, options: LoadOptions) -> Generation: ...


@dataclass
class Options(LoadFields):
    """``options`` of a request: how the model is loaded; of this request alone its chat template and adapters."""

    chat_format: str | None = None
    lora: Annotated[list[Adapter], MaxLen(MAX_ADAPTERS)] | None = None


@dataclass
class Body(NamedModel):
    """The fields of a request."""

    task: Annotated[str, WithJsonSchema({"enum": TASKS})] = TASKS[0]
    inputs: Inputs = None
    parameters: SamplingParams | None = None
    options: Options | None = None
    stream: bool = field(default=False)


def dialect(pipeline: Pipeline, responder: Responder) -> Dialect:
    """The dialect on this pipeline."""
    return Dialect(_routes(pipeline, responder), error_response, OPERATIONS, _PATHS, ERROR_SCHEMA)


def _routes(pipeline: Pipeline, responder: Responder) -> Blueprint:
    native = Blueprint("native", __name__)

    @native.post("/")
    @native.post("/api", strict_slashes=False)
    def generate() -> Response:
        body = SHAPE.read(read_json())
        options = body.options or Options()
        if body.task == "none":
            loading = pipeline.load(body.reference, options.load_options())
            return responder.respond(loading, answer_format(body.stream, LoadAnswer()))
        if body.task == "embedding":
            texts = [body.inputs] if isinstance(body.inputs, str) else body.inputs
            embedding = pipeline.embed(EmbeddingRequest(texts, body.reference, options.load_options()))
            answer = EmbeddingAnswer(single=isinstance(body.inputs, str))
            return responder.respond(embedding, answer_format(False, answer))
        sampling = body.parameters or SamplingParams()
        generation = pipeline.generate(
            GenerationRequest(
                inputs=body.inputs if isinstance(body.inputs, str) else messages(body.inputs),
                model=body.reference,
                sampling=sampling,
                options=options.load_options(),
                chat_format=options.chat_format,
                lora=options.lora,
            )
        )
        return responder.respond(generation, answer_format(body.stream, TextAnswer(sampling.n)))

    return native


def body_problems(body: dict[str, Any]) -> list[str]:
    """What is wrong between the fields of a parsed body, and with those that have several shapes."""
    task = body.get("task", TASKS[0])
    problems = naming_problems(body)
    if isinstance(task, str) and task not in TASKS:
        problems.append(f"task: {shown(task)} is not known; allowed: {', '.join(TASKS)}")
    elif task == "embedding":
        problems += _texts_problems(body.get("inputs"))
        if body.get("stream") is True:
            problems.append("stream: embeddings come whole; allowed: false")
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


def _texts_problems(inputs: Any) -> list[str]:
    texts = inputs if isinstance(inputs, list) else [inputs]
    if not 1 <= len(texts) <= MAX_TEXTS:
        return [f"inputs: {len(texts)} texts; allowed: 1 to {MAX_TEXTS} in a request"]
    names = [f"inputs.{i}" for i in range(len(texts))] if texts is inputs else ["inputs"]
    return [
        f"{name}: {shown(text)} is no text to embed; allowed: a text that is not empty"
        for name, text in zip(names, texts, strict=True)
        if not isinstance(text, str) or not text
    ]


SHAPE = Shape(Body, body_problems)

ANSWER_SCHEMA = {"type": "object", "properties": {"model": {"type": "string"}}, "required": ["model"]}
_MEDIA = ("application/json", "text/event-stream")
OPERATIONS = (
    Operation("POST", "/api", "Generate text, embed texts, or load a model", SHAPE, ANSWER_SCHEMA, _MEDIA),
    Operation("POST", "/", "The same as POST /api", SHAPE, ANSWER_SCHEMA, _MEDIA),
)
