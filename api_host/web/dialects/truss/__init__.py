"""Truss: ``POST /predict`` with the arguments of transformers' ``generate()``, answered in plain text as it comes.

Knows the route and the shape of its errors, ``{"error": "a sentence", "code", ...}``; the arguments are in
``arguments``, those that mean nothing here in ``no_equivalent``, and what is sent in ``answers``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from flask import Blueprint, Response

from api_host.errors import ApiHostError, WrongToken
from api_host.generation import GenerationRequest
from api_host.web.body import read_json
from api_host.web.dialect import Dialect, Operation, in_words_of
from api_host.web.dialects.truss.answers import OUTPUT_SCHEMA, Conversation, PlainText
from api_host.web.dialects.truss.arguments import NAMES, SHAPE, Body
from api_host.web.dialects.truss.lengths import AtLeast
from api_host.web.failures import shaped
from api_host.web.streaming import Generation, Responder


class Pipeline(Protocol):
    """What this dialect needs of the pipeline."""

    def generate(self, request: GenerationRequest) -> Generation: ...

    def count(self, request: GenerationRequest) -> Generation: ...


ERROR_SCHEMA = {
    "type": "object",
    "properties": {"error": {"type": "string"}, "code": {"type": "string"}},
    "required": ["error"],
}
OPERATIONS = (
    Operation(
        "POST",
        "/predict",
        "Answer a chat with the arguments of transformers' generate(), as Truss does",
        SHAPE,
        OUTPUT_SCHEMA,
        ("text/plain", "application/json"),
    ),
)


def dialect(pipeline: Pipeline, responder: Responder) -> Dialect:
    """The dialect on this pipeline."""
    return Dialect(_routes(pipeline, responder), _respond, OPERATIONS, ("/predict",), ERROR_SCHEMA)


def _routes(pipeline: Pipeline, responder: Responder) -> Blueprint:
    routes = Blueprint("truss", __name__)

    @routes.post("/predict")
    def predict() -> Response:
        body = SHAPE.read(read_json())
        with _in_our_words():
            return answer(body)

    def answer(body: Body) -> Response:
        asked = body.request()
        generation = (
            AtLeast(pipeline, asked, body.min_length) if body.min_length else pipeline.generate(asked)
        )
        return responder.respond(generation, PlainText() if body.stream else Conversation(asked.sampling.n))

    return routes


@contextmanager
def _in_our_words() -> Iterator[None]:
    """Has the engine's errors name this dialect's fields; those of a body do already."""
    try:
        yield
    except ApiHostError as error:
        raise in_words_of(NAMES, error) from error


def _respond(error: ApiHostError) -> Response:
    body = {**error.to_dict(), "error": error.message}
    return shaped(body, error, 401 if isinstance(error, WrongToken) else None)
