"""``GET /v1/models`` and ``GET /v1/models/{id}``: the models of the host as OpenAI lists them.

Knows no model; the pipeline does. ``meta`` and ``status`` go beyond OpenAI's fields, as llama.cpp's server does.
"""

from __future__ import annotations

import time
from typing import Any, Protocol
from urllib.parse import unquote

from flask import Blueprint, Response, jsonify

from api_host.errors import InvalidRequest
from api_host.web.dialect import Operation
from api_host.web.dialects.openai.errors import ModelNotHere
from api_host.web.streaming import Responder

_META = ("architecture", "description", "n_params", "size", "n_ctx", "n_ctx_train", "n_slots", "device")


class Pipeline(Protocol):
    """What these routes need of the pipeline."""

    def canonical(self, model: str | None) -> str: ...

    def models(self) -> list[dict[str, Any]]: ...


def add_routes(routes: Blueprint, pipeline: Pipeline, responder: Responder) -> None:
    """Adds the routes to the dialect's blueprint; ``created`` is when that was, for all models."""
    created = int(time.time())

    @routes.get("/v1/models")
    def models() -> Response:
        return jsonify({"object": "list", "data": [_told(model, created) for model in pipeline.models()]})

    @routes.get("/v1/models/<path:id>")
    def model(id: str) -> Response:
        id = unquote(id)  # OpenAI's client sends the slashes of an id encoded, and the server leaves them so
        try:
            name = pipeline.canonical(id)
        except InvalidRequest:
            name = id
        for model in pipeline.models():
            if model["name"] == name:
                return jsonify(_told(model, created))
        raise ModelNotHere(f"the model {id[:200]!r} is not here; GET /v1/models lists those that are")


def _told(model: dict[str, Any], created: int) -> dict[str, Any]:
    owner, slash, _ = model["name"].partition("/")
    status = {"value": model["status"], "progress": model.get("progress"), "error": model.get("error")}
    return {
        "id": model["name"],
        "object": "model",
        "created": created,
        "owned_by": owner if slash else "api-host",
        "meta": {key: model.get(key) for key in _META},
        "status": {key: value for key, value in status.items() if value is not None},
    }


_MODEL = {
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "object": {"const": "model"},
        "created": {"type": "integer"},
        "owned_by": {"type": "string"},
        "meta": {"type": "object"},
        "status": {"type": "object", "properties": {"value": {"type": "string"}}, "required": ["value"]},
    },
    "required": ["id", "object", "created", "owned_by", "meta", "status"],
}
_LIST = {
    "type": "object",
    "properties": {"object": {"const": "list"}, "data": {"type": "array", "items": _MODEL}},
    "required": ["object", "data"],
}

OPERATIONS = (
    Operation("GET", "/v1/models", "The models, as OpenAI lists them", answer=_LIST),
    Operation("GET", "/v1/models/<path:id>", "One model, as OpenAI tells it", answer=_MODEL),
)
