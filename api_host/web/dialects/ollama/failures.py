"""Errors in Ollama's shape, ``{"error": "a sentence"}``, with the fields as its requests name them.

Knows no route but by what its input is called.
"""

from __future__ import annotations

from typing import Any

from flask import Response, request

from api_host.errors import ApiHostError, WrongToken
from api_host.web.dialect import in_words_of
from api_host.web.failures import shaped

ERROR_SCHEMA = {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]}
_INPUTS = {"/api/chat": "messages", "/api/embed": "input"}


def inputs_name() -> str:
    """What the current request calls the text that goes in."""
    return _INPUTS.get(request.path, "prompt")


def error_body(error: ApiHostError, inputs: str) -> dict[str, Any]:
    """The JSON of an error; ``inputs`` is what the request calls the text that goes in."""
    names = {
        # Tokens come in one field only: a prompt is never told to be none.
        "inputs": "context" if "is no token" in error.message else inputs,
        "parameters.json_schema": "format",
        "parameters.max_tokens": "options.num_predict",
        "parameters.": "options.",
        "options.ctx_length": "options.num_ctx",
        "options.use_gpu": "options.num_gpu",
    }
    return {"error": in_words_of(names, error).message}


def respond(error: ApiHostError) -> Response:
    """The whole answer to a request that failed before its first byte."""
    status = 401 if isinstance(error, WrongToken) else None
    return shaped(error_body(error, inputs_name()), error, status)
