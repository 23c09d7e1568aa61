"""What the host offers, told to programs: an OpenAPI 3.1 document of every route of every dialect.

Knows operations and error classes, no route and no field: schemas are made of the shapes with which bodies are read,
statuses of what each dialect answers to each error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from flask import Flask
from pydantic import TypeAdapter

from api_host.errors import ApiHostError
from api_host.web.dialect import Dialect, Operation

OPENAPI_VERSION = "3.1.0"
_SCHEMAS = "#/components/schemas/"
_PARAMETER = re.compile(r"<(?:\w+:)?(\w+)>")
_DESCRIPTION = (
    "The dialects of one host. The token that the host printed when it started opens every route: as a bearer token, "
    "as x-api-key, as Authorization: Api-Key, or as the field token of a body."
)
_SECURITY: list[dict[str, list[str]]] = [{"bearer": []}, {"apiKey": []}]
_SOCKET_SECURITY = [*_SECURITY, {"socketToken": []}]
_SECURITY_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "apiKey": {"type": "apiKey", "in": "header", "name": "x-api-key"},
    "socketToken": {"type": "apiKey", "in": "query", "name": "token"},
}
_DIALECTS = "api_host.web.dialects."
# What only a host's owner meets, or only a client that has gone.
_NEVER_ANSWERED = ("ports_taken", "tunnel_failed", "cancelled")
_TRY_AGAIN = (429, 503)
_RETRY_AFTER = {"Retry-After": {"description": "seconds", "schema": {"type": "integer", "minimum": 1}}}


def document(
    app: Flask, dialects: list[Dialect], version: str, open_paths: tuple[str, ...]
) -> dict[str, Any]:
    """The OpenAPI document.

    Args:
        app: lets the dialects make their answers to errors.
        dialects: what is told, in this order.
        version: the host's.
        open_paths: the paths that need no token.
    """
    schemas: dict[str, Any] = {}
    paths: dict[str, dict[str, Any]] = {}
    for dialect in dialects:
        name = dialect.blueprint.name
        schemas[f"{name}.Error"] = dict(dialect.error_schema)
        for operation in dialect.operations:
            head = {"Upgrade": "websocket"} if operation.method == "WS" else {}
            with app.test_request_context(headers=head):
                errors = _errors_of(dialect)
            told = _operation(operation, name, errors, schemas)
            if operation.path in open_paths and operation.method == "GET":
                told["security"] = []
            path = _PARAMETER.sub(r"{\1}", operation.path)
            paths.setdefault(path, {})["get" if operation.method == "WS" else operation.method.lower()] = told
    return {
        "openapi": OPENAPI_VERSION,
        "info": {"title": "API Host", "version": version, "description": _DESCRIPTION},
        "security": _SECURITY,
        "tags": [{"name": dialect.blueprint.name} for dialect in dialects],
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": _SECURITY_SCHEMES},
    }


def _errors_of(dialect: Dialect) -> dict[int, list[str]]:
    """The statuses with which a dialect answers errors to the current request, and the codes of those errors."""
    found: dict[int, list[str]] = {}
    for kind in _kinds(ApiHostError):
        of_a_dialect = kind.__module__.startswith(_DIALECTS)
        is_own = f"{kind.__module__}.".startswith(f"{_DIALECTS}{dialect.blueprint.name}.")
        if kind.code not in _NEVER_ANSWERED and (is_own or not of_a_dialect):
            status = dialect.respond(kind("told")).status_code
            found.setdefault(status, []).append(kind.code)
    return {status: sorted(set(codes)) for status, codes in sorted(found.items())}


def _kinds(root: type[ApiHostError]) -> Iterator[type[ApiHostError]]:
    yield root
    for child in root.__subclasses__():
        yield from _kinds(child)


def _operation(
    operation: Operation, dialect: str, errors: Mapping[int, list[str]], schemas: dict[str, Any]
) -> dict[str, Any]:
    words = re.findall(r"\w+", operation.path)
    told: dict[str, Any] = {
        "operationId": "_".join([operation.method.lower(), *words]),
        "summary": operation.summary,
        "tags": [dialect],
    }
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _PARAMETER.findall(operation.path)
    ]
    parameters += [
        {"name": name, "in": "query", "schema": dict(schema)} for name, schema in operation.query.items()
    ]
    if parameters:
        told["parameters"] = parameters
    if operation.body is not None:
        reference = _with_definitions(operation.body.schema(), f"{dialect}.", schemas)
        content = {media: {"schema": reference} for media in operation.accepts}
        told["requestBody"] = {"required": not operation.query, "content": content}
    error = {"application/json": {"schema": {"$ref": f"{_SCHEMAS}{dialect}.Error"}}}
    if operation.method == "WS":
        told |= {"x-websocket": True, "security": _SOCKET_SECURITY}
        told["responses"] = {
            "101": {"description": "the WebSocket is open"},
            "426": {"description": "the request asks for no WebSocket", "content": error},
        }
    else:
        told["responses"] = {
            str(status): _answer(operation, f"{dialect}.", schemas) for status in operation.statuses
        }
    _add_errors(told["responses"], errors, error)
    return told


def _answer(operation: Operation, prefix: str, schemas: dict[str, Any]) -> dict[str, Any]:
    schema = _answer_schema(operation.answer, prefix, schemas)
    content = {media: {"schema": schema if media == "application/json" else {}} for media in operation.media}
    return {"description": "the answer", "content": content}


def _add_errors(responses: dict[str, Any], errors: Mapping[int, list[str]], error: Mapping[str, Any]) -> None:
    for status, codes in errors.items():
        if str(status) in responses:
            _also_an_error(responses[str(status)], error)
            continue
        headers = {"headers": _RETRY_AFTER} if status in _TRY_AGAIN else {}
        responses[str(status)] = {"description": ", ".join(codes), **headers, "content": error}


def _also_an_error(response: dict[str, Any], error: Mapping[str, Any]) -> None:
    """A dialect that answers errors with the status of an answer says either with it."""
    content = response.setdefault("content", {})
    answer = content.get("application/json", {}).get("schema", {})
    choices = [answer, error["application/json"]["schema"]] if answer else [{}]
    content["application/json"] = {"schema": {"anyOf": choices}}


def _answer_schema(answer: Any, prefix: str, schemas: dict[str, Any]) -> dict[str, Any]:
    if answer is None:
        return {}
    schema = dict(answer) if isinstance(answer, Mapping) else TypeAdapter(answer).json_schema()
    return _with_definitions(schema, prefix, schemas)


def _with_definitions(schema: dict[str, Any], prefix: str, schemas: dict[str, Any]) -> dict[str, Any]:
    """The schema, its definitions moved to the document's own, under names that begin with ``prefix``."""
    definitions = schema.pop("$defs", {})
    for name, definition in definitions.items():
        schemas[prefix + name] = _renamed(definition, prefix)
    renamed: dict[str, Any] = _renamed(schema, prefix)
    return renamed


def _renamed(node: Any, prefix: str) -> Any:
    if isinstance(node, dict):
        return {
            key: f"{_SCHEMAS}{prefix}{value.removeprefix('#/$defs/')}"
            if key == "$ref" and isinstance(value, str)
            else _renamed(value, prefix)
            for key, value in node.items()
        }
    return [_renamed(item, prefix) for item in node] if isinstance(node, list) else node
