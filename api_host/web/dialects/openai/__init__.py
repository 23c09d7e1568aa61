"""OpenAI's API below ``/v1``: chat, completions, responses, embeddings and models.

Each route has a module of its own; this one joins them.
"""

from __future__ import annotations

from typing import Protocol

from flask import Blueprint

from api_host.web.dialect import Dialect
from api_host.web.dialects.openai import chat, completions, embeddings, models, responses
from api_host.web.dialects.openai.errors import ERROR_SCHEMA, respond
from api_host.web.streaming import Responder

# The last ones are what a client asks for whose base URL lacks its /v1.
_PATHS = ("/v1/", "/chat/completions", "/completions", "/responses", "/models")
_PARTS = (chat, completions, responses, embeddings, models)


class Pipeline(
    chat.Pipeline, completions.Pipeline, responses.Pipeline, embeddings.Pipeline, models.Pipeline, Protocol
):
    """What this dialect needs of the pipeline."""


def dialect(pipeline: Pipeline, responder: Responder) -> Dialect:
    """The dialect on this pipeline."""
    routes = Blueprint("openai", __name__)
    for part in _PARTS:
        part.add_routes(routes, pipeline, responder)
    operations = tuple(operation for part in _PARTS for operation in part.OPERATIONS)
    return Dialect(routes, respond, operations, _PATHS, ERROR_SCHEMA)
