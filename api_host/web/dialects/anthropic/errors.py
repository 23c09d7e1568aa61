"""Errors in the shape of the Messages API: ``{"type": "error", "error": {"type", "message"}, "request_id"}``.

Knows statuses and the names of fields. The types are those of https://docs.anthropic.com/en/api/errors; ``code`` and
the error's details are this house's and stand beside them.
"""

from __future__ import annotations

import secrets
from typing import Any

from flask import Response

from api_host.errors import ApiHostError, ContextLengthExceeded, WrongToken
from api_host.web.dialect import in_words_of
from api_host.web.failures import shaped

UNAUTHORIZED = 401
_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}
_NAMES = {
    "parameters.stop": "stop_sequences",
    "parameters.stop.": "stop_sequences.",
    # The schema in force may be that of a forced call.
    "parameters.json_schema": "json_schema, output_config or tools",
    "parameters.": "",
    "inputs": "messages",
    "inputs.": "messages.",
    "options.chat_format": "model",
    "options.ctx_length": "context",
}

ERROR_SCHEMA = {
    "type": "object",
    "properties": {
        "type": {"const": "error"},
        "error": {
            "type": "object",
            "properties": {
                "type": {"enum": sorted({*_TYPES.values(), "invalid_request_error", "api_error"})},
                "message": {"type": "string"},
                "code": {"type": "string"},
            },
            "required": ["type", "message"],
        },
        "request_id": {"type": "string"},
    },
    "required": ["type", "error"],
}


def new_request_id() -> str:
    return f"req_{secrets.token_hex(12)}"


def error_body(error: ApiHostError) -> dict[str, Any]:
    """The JSON of an error, also of one that comes after the first byte."""
    return _body(error, _status(error), new_request_id())


def respond(error: ApiHostError) -> Response:
    """The whole answer to a request that failed before its first byte."""
    status, request_id = _status(error), new_request_id()
    response = shaped(_body(error, status, request_id), error, status)
    response.headers["request-id"] = request_id
    return response


def _status(error: ApiHostError) -> int:
    return UNAUTHORIZED if isinstance(error, WrongToken) else error.status


def _body(error: ApiHostError, status: int, request_id: str) -> dict[str, Any]:
    error = in_words_of(_NAMES, error)
    general = "api_error" if status >= 500 else "invalid_request_error"
    message = error.message
    if isinstance(error, ContextLengthExceeded):
        # Anthropic's own clients know this error by these words, and shorten the chat.
        message = f"prompt is too long: {message}"
    told = {**error.details, "type": _TYPES.get(status, general), "message": message, "code": error.code}
    return {"type": "error", "error": told, "request_id": request_id}
