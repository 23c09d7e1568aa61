"""Reading a request's body: bounded, once, and as JSON whatever the content type says.

Knows nothing of what the fields mean; ``validation`` does.
"""

from __future__ import annotations

import codecs
from typing import Any

import pydantic_core
from flask import Request
from werkzeug.exceptions import ClientDisconnected

from api_host.config import MAX_BODY_BYTES
from api_host.errors import ApiHostError, InvalidRequest
from api_host.web.current import this_request
from api_host.web.failures import body_too_large

_CUT = "the body did not arrive whole; send the request again"
# A JSON body is accepted under these too: curl and older clients send JSON under a type of their own choosing.
_LENIENT_TYPES = ("", "text/plain", "application/x-www-form-urlencoded", "application/octet-stream")


class UnsupportedMediaType(ApiHostError):
    status = 415
    code = "unsupported_media_type"


class BodyCut(ApiHostError):
    """The client went away, stalled, or broke the chunked framing before the whole body had come."""

    status = 400
    code = "body_cut"


def read_body(request: Request) -> bytes:
    """The whole body, kept for whoever asks again; without the byte order mark that Windows' editors put before it.

    Raises:
        BodyTooLarge: above MAX_BODY_BYTES, chunked bodies included.
        UnsupportedMediaType: the body is compressed.
        BodyCut: it ended early.
    """
    encoding = request.headers.get("Content-Encoding", "identity")
    if encoding.lower() != "identity":
        raise UnsupportedMediaType(
            f"Content-Encoding: {encoding[:40]!r} is not accepted; send it uncompressed"
        )
    if (request.content_length or 0) > MAX_BODY_BYTES:
        raise body_too_large()
    try:
        body = request.get_data(cache=True)
    except (OSError, ValueError, ClientDisconnected) as failure:
        raise BodyCut(_CUT) from failure
    if len(body) < (request.content_length or 0):
        # Werkzeug leaves it to the server to say so, which gives what has come.
        raise BodyCut(_CUT)
    if request.content_length is None and len(body) >= MAX_BODY_BYTES:
        # Of a chunked body Werkzeug reads up to the limit, and says nothing of the rest.
        raise body_too_large()
    return body.removeprefix(codecs.BOM_UTF8)


def read_json() -> bytes:
    """The body of the current request, which has to be a JSON object; it is only looked at, not parsed.

    Raises:
        UnsupportedMediaType: neither the content type nor the first character is JSON's.
        InvalidRequest: there is no body.
    """
    request = this_request()
    body = read_body(request)
    if not body.strip():
        raise InvalidRequest("the body is empty; send a JSON object")
    mimetype = request.mimetype
    if "json" in mimetype or mimetype in _LENIENT_TYPES or body.lstrip()[:1] == b"{":
        return body
    raise UnsupportedMediaType(f"Content-Type {mimetype[:80]!r} is not accepted; send application/json")


def body_token(request: Request) -> Any:
    """The field ``token`` of a JSON or form body; None when there is none, or no body that can be read.

    A broken body is not judged here: it holds no token, and the view says what is wrong with it.
    """
    body = read_body(request)
    if body.lstrip()[:1] == b"{" or "json" in request.mimetype:
        try:
            parsed = pydantic_core.from_json(body)
        except ValueError as failure:
            raise InvalidRequest(f"the body is not valid JSON: {failure}") from failure
        return parsed.get("token") if isinstance(parsed, dict) else None
    return request.form.get("token")
