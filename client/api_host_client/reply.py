"""Turns a whole HTTP answer into a JSON object, or into the one error that it is.

Knows nothing of sockets. An error in the body of a 200 (a late one, after keep-alive spaces) is raised as its
status would be; a 200 without a whole JSON object is an error, never an answer.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any

from api_host_client.edge import edge_error
from api_host_client.errors import (
    AnswerCut,
    BodyTooLarge,
    ClientError,
    EmptyAnswer,
    HostError,
    InvalidRequest,
    NotAnAnswer,
    Overloaded,
    WrongToken,
)
from api_host_client.host_errors import host_error_kinds

_BY_STATUS: dict[int, type[HostError]] = {
    400: InvalidRequest,
    401: WrongToken,
    413: BodyTooLarge,
    429: Overloaded,
    503: Overloaded,
}
_BY_CODE = host_error_kinds()
_BROKEN = object()
_EXCERPT = 200
_TRY_STREAMING = "the connection to the host may have been cut on the way: try again, or use streaming"

Scrub = Callable[[Any], Any]


@dataclass(frozen=True)
class Reply:
    """An HTTP answer as it came; ``complete`` is False when the connection ended inside the body."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    complete: bool = True

    @property
    def text(self) -> str:
        return self.body.decode("utf-8-sig", errors="replace")

    @property
    def retry_after(self) -> float | None:
        return seconds_to_wait(self.headers.get("Retry-After"))


def read_object(reply: Reply, scrub: Scrub) -> dict[str, Any]:
    """The JSON object of a good answer.

    Raises:
        HostError, EdgeError: what the status or the body says.
        EmptyAnswer, AnswerCut, NotAnAnswer: a good status over nothing, half a body, or another shape.
    """
    if not 200 <= reply.status < 300:
        raise error_of(reply, scrub)
    text = reply.text
    if not text.strip() and reply.complete:
        raise EmptyAnswer(f"an empty answer with status {reply.status}: {_TRY_STREAMING}")
    data = _parsed(text)
    if data is _BROKEN:
        cut = AnswerCut(f"an answer that is not whole JSON, {len(reply.body)} bytes: {_TRY_STREAMING}")
        raise edge_error(reply.status, reply.headers, text) or cut
    if not isinstance(data, dict):
        raise NotAnAnswer("the answer is JSON, but not an object: is this the URL of an API Host?")
    if data.get("error"):
        raise host_error(scrub(data), reply.status, reply.retry_after)
    return data


def error_of(reply: Reply, scrub: Scrub) -> ClientError:
    """The error that an answer with a status outside 200 to 299 is."""
    data = _object_in(reply.text)
    if data is not None and "error" in data:
        return host_error(scrub(data), reply.status, reply.retry_after)
    from_edge = edge_error(reply.status, reply.headers, reply.text, reply.retry_after)
    if from_edge:
        from_edge.message = scrub(from_edge.message)
        return from_edge
    said = scrub(reply.text.strip())[:_EXCERPT] or "the host gave no reason"
    return host_error({"error": said}, reply.status, reply.retry_after)


def host_error(data: dict[str, Any], status: int, retry_after: float | None = None) -> HostError:
    """The typed error in ``{"error", "code", ...details}``; a ``status`` in it outdoes a 200 above it.

    An unknown code keeps its name and gets the class that fits its status.
    """
    details = dict(data)
    said = details.pop("error", None)
    code = details.pop("code", None)
    if isinstance(said, dict):
        code = code or said.get("code")
        said = said.get("message")
    inner = details.pop("status", None)
    if isinstance(inner, int) and not isinstance(inner, bool):
        status = inner
    elif status < 400:
        status = 500
    wait = seconds_to_wait(details.pop("retry_after", None))
    if isinstance(said, list):
        details["problems"] = [str(problem) for problem in said]
    message = (
        "; ".join(str(problem) for problem in said)
        if isinstance(said, list)
        else str(said or "no reason given")
    )
    kind = _BY_CODE.get(str(code)) or _kind_by_status(status, message)
    return kind(
        message,
        status=status,
        code=str(code) if code else None,
        details=details,
        retry_after=retry_after if retry_after is not None else wait,
    )


def seconds_to_wait(value: Any) -> float | None:
    """``Retry-After`` in seconds from now: a number, or a date (RFC 9110, 10.2.3); None for anything else."""
    if value is None or isinstance(value, bool):
        return None
    try:
        seconds = float(value)
    except OverflowError:
        return None
    except (TypeError, ValueError):
        try:
            moment = parsedate_to_datetime(str(value))
            if moment.tzinfo is None:
                moment = moment.replace(tzinfo=timezone.utc)
            seconds = max(0.0, (moment - datetime.now(timezone.utc)).total_seconds())
        except (ValueError, OverflowError):
            return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def _kind_by_status(status: int, message: str) -> type[HostError]:
    if status == 403 and "token" in message.lower():
        return WrongToken
    return _BY_STATUS.get(status, HostError)


def _object_in(text: str) -> dict[str, Any] | None:
    data = _parsed(text)
    return data if isinstance(data, dict) else None


def _parsed(text: str) -> Any:
    """The JSON value, or _BROKEN. No error is passed on from here: json's own would carry the whole body along."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return _BROKEN
