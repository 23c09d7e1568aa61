"""Errors on their way out in the host's own shape: ``{"error", "code", ...}`` with the right status.

Knows no route; a dialect with another shape makes it with ``shaped``.
"""

from __future__ import annotations

import logging
import math
import secrets
from typing import Any

from flask import Response, jsonify
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound, RequestEntityTooLarge
from werkzeug.routing import WebsocketMismatch

from api_host.config import MAX_BODY_BYTES
from api_host.errors import ApiHostError, BodyTooLarge, WrongToken
from api_host.web.wrong_address import sentence_about

log = logging.getLogger(__name__)

ERROR_SCHEMA = {
    "type": "object",
    "properties": {
        "error": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
        "code": {"type": "string"},
    },
    "required": ["error"],
}


def error_body(error: ApiHostError) -> dict[str, Any]:
    """The JSON of an error; a wrong token says that alone."""
    if isinstance(error, WrongToken):
        return {"error": "wrong token"}
    return error.to_dict()


def late_error_body(error: ApiHostError) -> dict[str, Any]:
    """The JSON of an error that came after the first byte: its status stands in the body."""
    body = {**error.to_dict(), "status": error.status}
    if error.retry_after is not None:
        body["retry_after"] = error.retry_after
    return body


def error_response(error: ApiHostError) -> Response:
    """The whole answer, in the native shape, to a request that failed before its first byte."""
    return shaped(error_body(error), error)


def shaped(body: Any, error: ApiHostError, status: int | None = None) -> Response:
    """A JSON answer to a failed request: the error's status, or ``status``, with the headers that belong to it."""
    response = jsonify(body)
    response.status_code = status or error.status
    if response.status_code == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(max(1, math.ceil(error.retry_after)))
    return response


def unexpected(failure: Exception) -> ApiHostError:
    """Logs a fault of the host's own with its traceback; the caller gets an id to ask about, and no more."""
    incident = secrets.token_hex(4)
    log.error("internal error %s", incident, exc_info=failure)
    return ApiHostError("internal error", id=incident)


def body_too_large() -> BodyTooLarge:
    limit = MAX_BODY_BYTES
    return BodyTooLarge(f"the body is too large; at most {limit} bytes are allowed", limit=limit)


class NothingHere(ApiHostError):
    """No route has this address."""

    status = 404
    code = "not_found"


class MethodRefused(ApiHostError):
    """The address has a route, for other methods."""

    status = 405
    code = "method_not_allowed"


class Refused(ApiHostError):
    """One of Werkzeug's rarer refusals; its status is the instance's own."""

    status = 400
    code = "refused"

    def __init__(self, message: str, *, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


def from_http(failure: HTTPException, path: str) -> ApiHostError:
    """Flask's and Werkzeug's own refusal of a request for ``path`` as an error of this house, for its dialect."""
    if isinstance(failure, RequestEntityTooLarge):
        return body_too_large()
    if isinstance(failure, NotFound):
        return NothingHere(sentence_about(path))
    if isinstance(failure, MethodNotAllowed):
        allowed = ", ".join(sorted(failure.valid_methods or []))
        return MethodRefused(f"this method is not allowed here; allowed: {allowed}")
    if isinstance(failure, WebsocketMismatch):
        return Refused("this address is for plain HTTP, or for a WebSocket alone; ask it the other way")
    return Refused(failure.description or failure.name, status=failure.code or 500)


def with_headers_of(failure: HTTPException, response: Response) -> Response:
    """The response with the headers that belong to the refusal, such as Allow."""
    for name, value in failure.get_headers():
        if name.lower() not in ("content-type", "content-length"):
            response.headers[name] = value
    return response
