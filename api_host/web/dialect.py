"""What the application asks of a dialect: its routes, the shape of its errors, and what it tells of itself.

Knows no field and no route of any of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from flask import Blueprint, Response

from api_host.errors import ApiHostError, InvalidRequest
from api_host.web.validation import Shape


@dataclass(frozen=True)
class Operation:
    """One route, for ``/openapi.json`` and for the list at ``/``.

    Args:
        method: GET, POST, DELETE, or WS for a WebSocket.
        path: as Flask writes it: ``/v1/models/<path:model>``.
        summary: one short sentence, without its full stop.
        body: the shape of its JSON body; None for none. It must be the one that the view reads with.
        answer: a JSON schema of the plain answer, or a dataclass or TypedDict to make one of; None is any JSON.
        media: the content types that a good answer may have.
        statuses: those that a good answer may have; those of errors are the dialect's to say.
        query: the names of query parameters, each with a JSON schema.
        accepts: the content types that its body may have.
    """

    method: str
    path: str
    summary: str
    body: Shape[Any] | None = None
    answer: Any = None
    media: tuple[str, ...] = ("application/json",)
    statuses: tuple[int, ...] = (200,)
    query: Mapping[str, Any] = field(default_factory=dict)
    accepts: tuple[str, ...] = ("application/json",)


@dataclass(frozen=True)
class Dialect:
    """One API.

    Args:
        blueprint: its routes; its name is the dialect's in counters and documents.
        respond: the whole answer to a request that failed before its first byte, in the dialect's shape and with its
            status. It also gets what no route has seen: wrong tokens, bodies that are too large, unknown addresses.
        operations: all its routes, told.
        paths: the beginnings of addresses that are this dialect's even where there is no route.
        error_schema: a JSON schema of the errors that ``respond`` makes.
    """

    blueprint: Blueprint
    respond: Callable[[ApiHostError], Response]
    operations: tuple[Operation, ...] = ()
    paths: tuple[str, ...] = ()
    error_schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "object"})


def in_words_of(names: Mapping[str, str], error: ApiHostError) -> ApiHostError:
    """The error with the fields that it names as the dialect calls them.

    Args:
        names: the dialect's spelling of this house's fields, such as ``{"inputs": "messages", "parameters.": ""}``;
            a key that ends in a dot stands for the beginning of a name, the first that fits counts. A whole name such
            as ``options.ctx_length`` is also replaced where a sentence speaks of it further on.
        error: whose sentences begin with the name of a field and a colon.
    """
    if not isinstance(error, InvalidRequest):
        return error
    changed = type(error)(*[_renamed(problem, names) for problem in error.problems], **error.details)
    changed.retry_after = error.retry_after
    return changed


def _renamed(problem: str, names: Mapping[str, str]) -> str:
    field_name, colon, rest = problem.partition(":")
    for ours, theirs in names.items():
        if "." in ours.rstrip("."):
            rest = rest.replace(ours, theirs)
    for ours, theirs in names.items():
        if field_name == ours or (ours.endswith(".") and field_name.startswith(ours)):
            field_name = theirs + field_name[len(ours) :]
            break
    return f"{field_name}{colon}{rest}"


def field_named(error: ApiHostError) -> str | None:
    """The field that the first sentence of an error is about, if it begins with one."""
    if not isinstance(error, InvalidRequest) or not error.problems:
        return None
    name, colon, _ = error.problems[0].partition(": ")
    return name if colon and name.replace("_", "").replace(".", "").replace("-", "").isalnum() else None
