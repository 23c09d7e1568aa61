"""``POST /v1/embeddings``: texts or tokens in, vectors out, as numbers or as base64.

Knows its fields and OpenAI's JSON (API reference, "The embedding object").
"""

from __future__ import annotations

import base64
import math
import struct
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, Protocol

from annotated_types import Ge, Le
from flask import Blueprint, Response
from pydantic import WithJsonSchema

from api_host.errors import InvalidRequest
from api_host.generation import (
    Accepted,
    EmbeddingRequest,
    Event,
    Finished,
    LoadOptions,
    Vectors,
)
from api_host.web.body import read_json
from api_host.web.dialect import Operation
from api_host.web.dialects.openai.errors import InWords
from api_host.web.dialects.openai.events import Body, PlainJson
from api_host.web.dialects.openai.texts import TEXTS_SCHEMA, texts, texts_problems
from api_host.web.naming import LoadFields, NamedModel, naming_problems
from api_host.web.streaming import Generation, Responder
from api_host.web.validation import Shape

MAX_TEXTS = 2048


class Pipeline(Protocol):
    """What this route needs of the pipeline."""

    def embed(self, request: EmbeddingRequest) -> Generation: ...


@dataclass
class EmbeddingBody(NamedModel):
    """The fields of a request for embeddings. Unknown ones are ignored."""

    __pydantic_config__ = {"extra": "ignore"}

    input: Annotated[Any, WithJsonSchema(TEXTS_SCHEMA)] = field(kw_only=True)
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Ge(1), Le(1_000_000)] | None = None
    options: LoadFields | None = None


def body_problems(body: dict[str, Any]) -> list[str]:
    """What is wrong between the fields of a parsed body, and with its texts."""
    problems = naming_problems(body)
    if "input" in body:
        problems += texts_problems(body["input"], "input", MAX_TEXTS)
    return problems


SHAPE = Shape(EmbeddingBody, body_problems)


class EmbeddingAnswer:
    """The list of vectors, told once all are there.

    Args:
        encoding: ``base64`` is the base64 of little-endian float32.
        dimensions: vectors are cut to so many numbers, and made of length 1 again; None leaves them whole.
    """

    def __init__(self, encoding: str | None, dimensions: int | None) -> None:
        self._encoding = encoding
        self._dimensions = dimensions
        self._told: Body = {"object": "list"}

    def take(self, event: Event) -> list[Body]:
        match event:
            case Accepted(model=model):
                self._told["model"] = model
            case Vectors(vectors=vectors):
                self._told["data"] = [
                    {"object": "embedding", "index": i, "embedding": self._encoded(vector)}
                    for i, vector in enumerate(vectors)
                ]
            case Finished(usage=usage):
                n_tokens = usage.prompt_tokens
                return [{**self._told, "usage": {"prompt_tokens": n_tokens, "total_tokens": n_tokens}}]
        return []

    def _encoded(self, vector: list[float]) -> list[float] | str:
        vector = _cut(vector, self._dimensions) if self._dimensions is not None else vector
        if self._encoding != "base64":
            return vector
        return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


class WholeEmbedding:
    """Nothing is folded: the answer comes as one."""

    def __init__(self) -> None:
        self._body: Body = {}

    def add(self, body: Body) -> None:
        self._body = body

    def whole(self) -> Body:
        return self._body


def _cut(vector: list[float], dimensions: int) -> list[float]:
    if dimensions > len(vector):
        raise InvalidRequest(
            f"dimensions: {dimensions} is too large; this model's vectors allow 1 to {len(vector)}"
        )
    cut = vector[:dimensions]
    length = math.hypot(*cut)
    return [number / length for number in cut] if length else cut


def add_routes(routes: Blueprint, pipeline: Pipeline, responder: Responder) -> None:
    """Adds the route to the dialect's blueprint."""

    @routes.post("/v1/embeddings")
    def embed() -> Response:
        body = SHAPE.read(read_json())
        options = body.options.load_options() if body.options is not None else LoadOptions()
        asked = EmbeddingRequest(texts(body.input), body.reference, options)
        generation = InWords(pipeline.embed(asked), {"inputs": "input"})
        answer = EmbeddingAnswer(body.encoding_format, body.dimensions)
        return responder.respond(generation, PlainJson(answer, WholeEmbedding()))


_ANSWER = {
    "type": "object",
    "properties": {
        "object": {"const": "list"},
        "data": {"type": "array", "items": {"type": "object", "required": ["index", "embedding"]}},
        "model": {"type": "string"},
        "usage": {"type": "object"},
    },
    "required": ["object", "data", "model", "usage"],
}

OPERATIONS = (Operation("POST", "/v1/embeddings", "Turn texts into vectors, as OpenAI does", SHAPE, _ANSWER),)
