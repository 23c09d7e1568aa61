"""LLM API: ``/generate``, ``/agenerate``, ``/embeddings`` and ``/check``, with bare texts and numbers as answers.

Knows the routes and the shape of its errors, ``{"detail": "a sentence", "code", ...}``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

from flask import Blueprint, Response, jsonify

from api_host.errors import ApiHostError, WrongToken
from api_host.generation import EmbeddingRequest, GenerationRequest
from api_host.web.body import read_json
from api_host.web.dialect import Dialect, Operation, in_words_of
from api_host.web.dialects.llm_api.answers import (
    PROMPT_NAMES,
    TEXT_NAMES,
    Affixed,
    JsonText,
    JsonVector,
    TextEvents,
    detailed,
)
from api_host.web.dialects.llm_api.bodies import EMBEDDINGS, GENERATE
from api_host.web.failures import shaped
from api_host.web.streaming import Format, Generation, Responder

PATHS = ("/generate", "/agenerate", "/embeddings", "/check")
ERROR_SCHEMA = {
    "type": "object",
    "properties": {"detail": {"type": "string"}, "code": {"type": "string"}},
    "required": ["detail"],
}
_TEXT = {"type": "string"}
_VECTOR = {"type": "array", "items": {"type": "number"}}
OPERATIONS = (
    Operation("POST", "/generate", "Go on with a prompt; the text as a JSON string", GENERATE, _TEXT),
    Operation(
        "POST",
        "/agenerate",
        "Go on with a prompt; the text in server-sent events",
        GENERATE,
        media=("text/event-stream",),
    ),
    Operation("POST", "/embeddings", "Embed a text; a JSON list of numbers", EMBEDDINGS, _VECTOR),
    Operation("GET", "/check", "Whether the API is there", answer={"type": "string", "const": "Ok"}),
)


class Pipeline(Protocol):
    """What this dialect needs of the pipeline."""

    def generate(self, request: GenerationRequest) -> Generation: ...

    def embed(self, request: EmbeddingRequest) -> Generation: ...


def dialect(pipeline: Pipeline, responder: Responder) -> Dialect:
    """The dialect on this pipeline."""
    return Dialect(_routes(pipeline, responder), _respond, OPERATIONS, PATHS, ERROR_SCHEMA)


def _routes(pipeline: Pipeline, responder: Responder) -> Blueprint:
    routes = Blueprint("llm_api", __name__)

    def answer(make_form: Callable[[Affixed], Format]) -> Response:
        body = GENERATE.read(read_json())
        with _in_words(PROMPT_NAMES):
            form = make_form(Affixed(body.before, body.after))
            return responder.respond(pipeline.generate(body.request()), form)

    @routes.post("/generate")
    def generate() -> Response:
        return answer(JsonText)

    @routes.post("/agenerate")
    def agenerate() -> Response:
        return answer(TextEvents)

    @routes.post("/embeddings")
    def embeddings() -> Response:
        body = EMBEDDINGS.read(read_json())
        with _in_words(TEXT_NAMES):
            asked = EmbeddingRequest([body.text], body.reference)
            return responder.respond(pipeline.embed(asked), JsonVector())

    @routes.get("/check")
    def check() -> Response:
        return jsonify("Ok")

    return routes


@contextmanager
def _in_words(names: Mapping[str, str]) -> Iterator[None]:
    """Has the engine's errors name this dialect's fields; those of a body do already."""
    try:
        yield
    except ApiHostError as error:
        raise in_words_of(names, error) from error


def _respond(error: ApiHostError) -> Response:
    return shaped(detailed(error.to_dict()), error, 401 if isinstance(error, WrongToken) else None)
