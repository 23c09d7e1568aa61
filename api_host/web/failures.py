"""Errors on their way out in the host's own shape: ``{"error", "code", ...}`` with the right status.

Knows no route and no dialect; a dialect with another shape registers error handlers of its own.
"""

from __future__ import annotations

import logging
import math
import secrets
from typing import Any

from flask import Response, jsonify
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound, RequestEntityTooLarge

from api_host.config import MAX_BODY_BYTES
from api_host.errors import ApiHostError, BodyTooLarge, WrongToken

log = logging.getLogger(__name__)


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
    """The whole answer to a request that failed before its first byte."""
    response = jsonify(error_body(error))
    response.status_code = error.status
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


def http_response(failure: HTTPException) -> Response:
    """Flask's and Werkzeug's own refusals, in JSON."""
    if isinstance(failure, RequestEntityTooLarge):
        return error_response(body_too_large())
    sentence = failure.description or failure.name
    if isinstance(failure, NotFound):
        sentence = "there is nothing at this address; GET / lists the endpoints"
    if isinstance(failure, MethodNotAllowed):
        allowed = ", ".join(sorted(failure.valid_methods or []))
        sentence = f"this method is not allowed here; allowed: {allowed}"
    response = jsonify({"error": sentence, "code": failure.name.lower().replace(" ", "_")})
    response.status_code = failure.code or 500
    for name, value in failure.get_headers():
        if name.lower() not in ("content-type", "content-length"):
            response.headers[name] = value
    return response
