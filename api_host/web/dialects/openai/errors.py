"""Errors as OpenAI's clients read them: ``{"error": {"message", "type", "param", "code"}}``.

Knows no route. Statuses, types and codes are those of OpenAI's API reference, "Error codes"; further facts of an
error (``n_ctx``, ``limit``) stand beside them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from flask import Response

from api_host.errors import (
    ApiHostError,
    ContextLengthExceeded,
    InvalidRequest,
    ModelFileNotFound,
    RepoNotFound,
    WrongToken,
)
from api_host.generation import Event
from api_host.web.dialect import field_named, in_words_of
from api_host.web.failures import shaped
from api_host.web.streaming import Generation

ERROR_SCHEMA = {
    "type": "object",
    "properties": {
        "error": {
            "type": "object",
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
            "required": ["message", "type", "param", "code"],
        }
    },
    "required": ["error"],
}

_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
_ALWAYS = {"options.chat_format": "chat_format", "parameters.": ""}


class ModelNotHere(ApiHostError):
    """``GET /v1/models/{id}`` of a model that this host neither has nor knows."""

    status = 404
    code = "model_not_found"


def respond(error: ApiHostError) -> Response:
    """The whole answer to a request that failed before its first byte."""
    return shaped({"error": error_object(error)}, error, _status(error))


def error_object(error: ApiHostError) -> dict[str, Any]:
    """What stands under ``error``: message, type, param (the field, if it is about one), code, and further facts."""
    status = _status(error)
    kind = _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return {
        **error.details,
        "message": _message(error),
        "type": kind,
        "param": "model" if _is_unknown_model(error) else field_named(error),
        "code": _code(error),
    }


def late_error(error: ApiHostError) -> dict[str, Any]:
    """The body of an error that came after the first byte: its status stands in it."""
    told = {**error_object(error), "status": _status(error)}
    if error.retry_after is not None:
        told["retry_after"] = error.retry_after
    return {"error": told}


def _message(error: ApiHostError) -> str:
    n_ctx = error.details.get("n_ctx")
    if n_ctx is None or not isinstance(error, ContextLengthExceeded):
        return error.message
    # LangChain, LiteLLM and others know this error by such words of OpenAI's or Anthropic's, and shorten the chat.
    return (
        f"This model's maximum context length is {n_ctx} tokens, and the prompt is too long: {error.message}"
    )


def _status(error: ApiHostError) -> int:
    return 401 if isinstance(error, WrongToken) else error.status


def _is_unknown_model(error: ApiHostError) -> bool:
    return isinstance(error, RepoNotFound | ModelFileNotFound | ModelNotHere)


def _code(error: ApiHostError) -> str:
    if isinstance(error, WrongToken):
        return "invalid_api_key"
    return ModelNotHere.code if _is_unknown_model(error) else error.code


class InWords:
    """A generation whose errors name the fields as the client does.

    Args:
        generation: what really runs.
        names: the client's spelling of fields, as ``in_words_of`` takes it; sampling parameters lose their
            ``parameters.`` anyway.
    """

    def __init__(self, generation: Generation, names: Mapping[str, str]) -> None:
        self._generation = generation
        self._names = {**names, **_ALWAYS}

    def __iter__(self) -> Iterator[Event]:
        try:
            yield from self._generation
        except InvalidRequest as error:
            raise in_words_of(self._names, error) from error

    def cancel(self) -> None:
        self._generation.cancel()
