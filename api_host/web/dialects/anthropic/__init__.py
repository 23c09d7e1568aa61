"""Anthropic's Messages API: ``POST /v1/messages``, and ``POST /v1/messages/count_tokens``.

Knows its routes; bodies are ``fields``'s, answers ``answers``'s, errors ``errors``'s.
"""

from __future__ import annotations

from functools import partial
from typing import Protocol

from flask import Blueprint, Response

from api_host.generation import GenerationRequest
from api_host.web.body import read_json
from api_host.web.dialect import Dialect, Operation
from api_host.web.dialects.anthropic.answers import CountFormat, EventStream, Narration, WholeMessage
from api_host.web.dialects.anthropic.errors import ERROR_SCHEMA, error_body, new_request_id, respond
from api_host.web.dialects.anthropic.fields import COUNT_SHAPE, SHAPE, Asked, asked, counted
from api_host.web.output import OutputParser
from api_host.web.streaming import Format, Generation, Responder


class Pipeline(Protocol):
    """What this dialect needs of the pipeline."""

    def generate(self, request: GenerationRequest) -> Generation: ...

    def count(self, request: GenerationRequest) -> Generation: ...


def dialect(pipeline: Pipeline, responder: Responder) -> Dialect:
    """The dialect on this pipeline."""
    routes = _routes(pipeline, responder)
    return Dialect(
        routes, respond, OPERATIONS, paths=("/v1/messages", "/v1/v1/messages"), error_schema=ERROR_SCHEMA
    )


def _routes(pipeline: Pipeline, responder: Responder) -> Blueprint:
    routes = Blueprint("anthropic", __name__)

    @routes.post("/v1/messages")
    def create() -> Response:
        body = SHAPE.read(read_json())
        found = asked(body)
        form = (EventStream if body.stream else WholeMessage)(_narration(found), error_body)
        return answered(pipeline.generate(found.request), form)

    @routes.post("/v1/messages/count_tokens")
    def count_tokens() -> Response:
        body = COUNT_SHAPE.read(read_json())
        return answered(pipeline.count(counted(body)), CountFormat(error_body))

    def answered(generation: Generation, form: Format) -> Response:
        response = responder.respond(generation, form)
        response.headers["request-id"] = new_request_id()
        return response

    return routes


def _narration(found: Asked) -> Narration:
    tools, sampling = found.tools, found.request.sampling
    held = sampling.json_schema is not None or sampling.grammar is not None
    # Text that is held to a form of its own calls nothing, whatever it looks like.
    calls = bool(tools.offered) and (tools.forced or not held)
    parse = partial(OutputParser, tools=calls, reasoning=not held, forced=tools.forced)
    return Narration(lambda prompt: parse(prompt=prompt), sampling.stop, found.thinking, tools)


_BLOCK = {
    "type": "object",
    "properties": {"type": {"enum": ["text", "thinking", "tool_use"]}},
    "required": ["type"],
}
ANSWER_SCHEMA = {
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "type": {"const": "message"},
        "role": {"const": "assistant"},
        "model": {"type": "string"},
        "content": {"type": "array", "items": _BLOCK},
        "stop_reason": {"enum": ["end_turn", "max_tokens", "stop_sequence", "tool_use"]},
        "stop_sequence": {"type": ["string", "null"]},
        "usage": {"type": "object"},
    },
    "required": ["id", "type", "role", "model", "content", "stop_reason", "usage"],
}
_COUNT_SCHEMA = {
    "type": "object",
    "properties": {"input_tokens": {"type": "integer"}},
    "required": ["input_tokens"],
}
_MEDIA = ("application/json", "text/event-stream")
OPERATIONS = (
    Operation("POST", "/v1/messages", "Anthropic: answer a conversation", SHAPE, ANSWER_SCHEMA, _MEDIA),
    Operation("POST", "/v1/messages/count_tokens", "Anthropic: count a prompt", COUNT_SHAPE, _COUNT_SCHEMA),
)
