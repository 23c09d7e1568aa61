"""The Zephyr API: a developer's chatbot, documentation of code, and what the GPUs do right now.

Knows its routes and shapes; the prompts stand in ``prompts``, the fields in ``bodies``. Whatever generates is the
pipeline's.
"""

from __future__ import annotations

import time
from typing import Any, Protocol

import msgspec
import pydantic_core
from flask import Blueprint, Response, jsonify, request

from api_host.errors import ApiHostError, InvalidRequest, WrongToken
from api_host.generation import GenerationRequest
from api_host.gpus import Gpus
from api_host.web.body import read_body, read_json
from api_host.web.dialect import Dialect, Operation, in_words_of
from api_host.web.dialects.zephyr.answer import WholeAnswer, error_body
from api_host.web.dialects.zephyr.bodies import CODE_DOC, QUERY, RAW, STRUCTURED, CodeDocQuery, Sampled
from api_host.web.failures import shaped
from api_host.web.sockets import Socket, socket_route
from api_host.web.streaming import Generation, Responder

PERIOD_S = 1.0


class Pipeline(Protocol):
    """What this dialect needs of the pipeline."""

    def generate(self, request: GenerationRequest) -> Generation: ...


def dialect(pipeline: Pipeline, responder: Responder, gpus: Gpus | None = None) -> Dialect:
    """The dialect on this pipeline; ``gpus`` None are this machine's."""
    zephyr = Blueprint("zephyr", __name__)
    _add_generating(zephyr, pipeline, responder)
    _add_watching(zephyr, gpus or Gpus())
    return Dialect(zephyr, respond, OPERATIONS, ("/zephyr",), ERROR_SCHEMA)


def _add_generating(zephyr: Blueprint, pipeline: Pipeline, responder: Responder) -> None:
    def answer(query: Sampled, *, with_prompt: bool = False) -> Response:
        generation = pipeline.generate(query.generation_request(with_prompt))
        return responder.respond(generation, WholeAnswer(query.engine_names(), with_prompt))

    @zephyr.post("/zephyr/raw")
    def raw() -> Response:
        return answer(RAW.take(_query_and_body()), with_prompt=True)

    @zephyr.post("/zephyr/python")
    @zephyr.post("/zephyr/system-message")
    def chat() -> Response:
        return answer(QUERY.read(read_json()))

    @zephyr.post("/zephyr/code-doc")
    def code_doc() -> Response:
        return answer(CODE_DOC.read(read_json()))

    @zephyr.post("/zephyr/structured-code-doc")
    def structured_code_doc() -> Response:
        return answer(STRUCTURED.read(read_json()))


def _query_and_body() -> dict[str, Any]:
    """The fields of the query string and of a JSON or form body together; the body's count where both have one."""
    fields: dict[str, Any] = request.args.to_dict()
    body = read_body(request)
    if body.lstrip()[:1] != b"{" and "json" not in request.mimetype:
        return {**fields, **request.form.to_dict()}
    try:
        parsed = pydantic_core.from_json(body)
    except ValueError as failure:
        raise InvalidRequest(f"the body is not valid JSON: {failure}") from failure
    if not isinstance(parsed, dict):
        raise InvalidRequest("the body is not a JSON object; allowed: one with user_message")
    return {**fields, **parsed}


def _add_watching(zephyr: Blueprint, gpus: Gpus) -> None:
    @zephyr.get("/zephyr")
    def welcome() -> Response:
        told = [{"method": o.method, "path": o.path, "summary": o.summary} for o in OPERATIONS]
        return jsonify({"message": "Welcome to the Zephyr API of this host", "endpoints": told})

    def watch(socket: Socket) -> None:
        while True:
            socket.send(msgspec.json.encode({"gpus": gpus.read()}).decode())
            _wait(socket, PERIOD_S)

    socket_route(zephyr, "/zephyr/ws/gpu-stats", watch)


def _wait(socket: Socket, seconds: float) -> None:
    """Lets ``seconds`` pass; what the client says meanwhile is of no meaning here. Raises SocketClosed."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        socket.receive(left)


def respond(error: ApiHostError) -> Response:
    """The answer to a request that failed before its first byte: ``{"detail": ...}``, as FastAPI's clients read it."""
    if isinstance(error, WrongToken):
        return shaped(error_body(error), error, 401)
    kind = CodeDocQuery if request.path == "/zephyr/code-doc" else Sampled
    return shaped(error_body(in_words_of(kind.engine_names(), error)), error)


ERROR_SCHEMA = {
    "type": "object",
    "properties": {"detail": {"type": "string"}, "code": {"type": "string"}},
    "required": ["detail"],
}
_TEXT = {"type": "object", "properties": {"response": {"type": "string"}}, "required": ["response"]}
_WELCOME = {
    "type": "object",
    "properties": {
        "message": {"type": "string"},
        "endpoints": {"type": "array", "items": {"type": "object"}},
    },
    "required": ["message", "endpoints"],
}
_FORM = "application/x-www-form-urlencoded"
OPERATIONS = (
    Operation("GET", "/zephyr", "The endpoints of the Zephyr API", answer=_WELCOME),
    Operation(
        "POST",
        "/zephyr/raw",
        "The answer behind its whole prompt; fields in a body or a query string",
        RAW,
        _TEXT,
        query=RAW.schema()["properties"],
        accepts=("application/json", _FORM),
    ),
    Operation("POST", "/zephyr/python", "The answer of a Python developer", QUERY, _TEXT),
    Operation("POST", "/zephyr/system-message", "The same with a system message of one's own", QUERY, _TEXT),
    Operation("POST", "/zephyr/code-doc", "Markdown documentation of code", CODE_DOC, _TEXT),
    Operation(
        "POST",
        "/zephyr/structured-code-doc",
        "Markdown documentation in fixed sections",
        STRUCTURED,
        _TEXT,
    ),
    Operation("WS", "/zephyr/ws/gpu-stats", "Load and memory of the GPUs, once a second"),
)
