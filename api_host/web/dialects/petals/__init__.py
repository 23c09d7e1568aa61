"""Petals: ``POST /api/v1/generate``, and inference sessions on the WebSocket ``/api/v2/generate``.

Knows the two routes and which status an error has; the fields are in ``fields``, what is sent in ``answers``, and a
session in ``session``.
"""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, request

from api_host.errors import ApiHostError, BodyTooLarge, WrongToken
from api_host.generation import GenerationRequest
from api_host.web.auth import is_handshake
from api_host.web.body import UnsupportedMediaType, read_body
from api_host.web.dialect import Dialect, Operation
from api_host.web.dialects.petals.answers import ERROR_SCHEMA, OUTPUT_SCHEMA, Outputs, failure
from api_host.web.dialects.petals.fields import REQUEST, json_object
from api_host.web.dialects.petals.session import Pipeline, Session
from api_host.web.failures import MethodRefused, NothingHere, Refused, shaped
from api_host.web.sockets import socket_route
from api_host.web.streaming import Responder

__all__ = ["Pipeline", "dialect"]

OPERATIONS = (
    Operation(
        "POST",
        "/api/v1/generate",
        "Complete a text, as the Petals chat does; fields in a body or a query string",
        REQUEST,
        OUTPUT_SCHEMA,
        query=REQUEST.schema()["properties"],
        accepts=("application/json", "application/x-www-form-urlencoded"),
    ),
    Operation("WS", "/api/v2/generate", "Inference sessions of the Petals chat, in JSON frames"),
)
_PATHS = ("/api/v1/", "/api/v2/")
# What HTTP itself refuses; all else is said by a 200 with "ok": false, as the original does.
_WITH_STATUS = (BodyTooLarge, NothingHere, MethodRefused, Refused, UnsupportedMediaType)


def dialect(pipeline: Pipeline, responder: Responder) -> Dialect:
    """The dialect on this pipeline."""
    petals = Blueprint("petals", __name__)

    @petals.post("/api/v1/generate")
    def generate() -> Response:
        body = REQUEST.take(_fields())
        generation = pipeline.generate(GenerationRequest(body.inputs, body.reference, body.sampling()))
        return responder.respond(generation, Outputs())

    socket_route(petals, "/api/v2/generate", lambda socket: Session(pipeline, responder, socket).run())
    return Dialect(petals, respond, OPERATIONS, _PATHS, ERROR_SCHEMA)


def _fields() -> dict[str, Any]:
    """The fields of the query string and of a JSON or form body together; the body's count where both have one."""
    body = read_body(request)
    if body.lstrip()[:1] != b"{" and "json" not in request.mimetype:
        return {**request.args.to_dict(), **request.form.to_dict()}
    return {**request.args.to_dict(), **json_object(body, "the body")}


def respond(error: ApiHostError) -> Response:
    """The answer to a request that failed before its first byte: 200, but for what HTTP itself refuses."""
    if isinstance(error, WrongToken):
        return shaped(failure(error), error, 401)
    keeps = isinstance(error, _WITH_STATUS) or is_handshake(request)
    return shaped(failure(error), error, error.status if keeps else 200)
