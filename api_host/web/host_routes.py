"""The host's routes that belong to no dialect: the welcome, health, counters, and what there is, told twice.

Knows no pipeline.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, Response, jsonify, render_template_string, request

from api_host.errors import WrongToken
from api_host.metrics import Metrics
from api_host.web.auth import TokenGuard
from api_host.web.dialect import Dialect, Operation
from api_host.web.docs_page import DOCS_PAGE, SIGN_IN_PAGE
from api_host.web.failures import ERROR_SCHEMA, error_response
from api_host.web.page_routes import OPERATIONS as PAGE_OPERATIONS
from api_host.web.page_routes import add_files, chat_page
from api_host.web.validation import Shape

OPEN_ENDPOINTS = ("host.welcome", "host.health", "host.ask_for_docs", "host.page_file")
OPEN_PATHS = ("/", "/health", "/docs", *[told.path for told in PAGE_OPERATIONS])
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'"
_HEALTH = {
    "type": "object",
    "properties": {"status": {"const": "ok"}, "version": {"type": "string"}},
    "required": ["status", "version"],
}
_VARY = {"Vary": "Accept"}
_FORM = "application/x-www-form-urlencoded"


@dataclass
class SignIn:
    """What the form of ``/docs`` sends; the guard reads it."""

    token: str


SIGN_IN = Shape(SignIn)
OPERATIONS = (
    Operation(
        "GET",
        "/",
        "For a browser the chat page, for anything else this list",
        media=("text/html", "text/plain"),
    ),
    Operation("GET", "/health", "Whether the host is up; needs no token", answer=_HEALTH),
    Operation("GET", "/metrics", "Counters for Prometheus", media=("text/plain",)),
    Operation("GET", "/openapi.json", "Every route, its fields and its errors, for programs"),
    Operation("GET", "/docs", "The same to read, or a form that asks for the token", media=("text/html",)),
    Operation(
        "POST",
        "/docs",
        "The same to read",
        SIGN_IN,
        media=("text/html",),
        accepts=(_FORM, "application/json"),
    ),
    *PAGE_OPERATIONS,
)


def dialect(
    metrics: Metrics,
    version: str,
    guard: TokenGuard,
    operations: Callable[[], list[Operation]],
    document: Callable[[], dict[str, Any]],
) -> Dialect:
    """The routes.

    Args:
        metrics: what ``/metrics`` shows.
        version: the host's.
        guard: tells who may read ``/docs``.
        operations: all routes of the host.
        document: the OpenAPI document.
    """
    routes = Blueprint("host", __name__)

    @routes.get("/")
    def welcome() -> Response:
        if "text/html" in request.headers.get("Accept", ""):
            return chat_page(asks_token=not _passes(guard))
        lines = [f"{told.method:6} {told.path:34} {told.summary}" for told in operations()]
        return Response("\n".join([f"API Host {version}", *lines, ""]), mimetype="text/plain", headers=_VARY)

    @routes.get("/health")
    def health() -> Response:
        return jsonify({"status": "ok", "version": version})

    @routes.get("/metrics")
    def counters() -> Response:
        body, content_type = metrics.render()
        return Response(body, content_type=content_type)

    _add_documents(routes, guard, document)
    add_files(routes)
    return Dialect(routes, error_response, OPERATIONS, error_schema=ERROR_SCHEMA)


def _add_documents(routes: Blueprint, guard: TokenGuard, document: Callable[[], dict[str, Any]]) -> None:
    @routes.get("/openapi.json")
    def openapi() -> Response:
        return jsonify(document())

    @routes.get("/docs")
    def ask_for_docs() -> Response:
        # A browser has no way to send the header: it asks for the token, and posts it.
        if not _passes(guard):
            return _page(SIGN_IN_PAGE)
        return _page(DOCS_PAGE, document=document())

    @routes.post("/docs")
    def docs() -> Response:
        return _page(DOCS_PAGE, document=document())


def _passes(guard: TokenGuard) -> bool:
    """Whether the request brings the token, or none is asked for."""
    try:
        guard.check(request)
    except WrongToken:
        return False
    return True


def _page(template: str, **values: Any) -> Response:
    page = render_template_string(template, **values)
    return Response(page, headers={"Content-Security-Policy": _POLICY, "Referrer-Policy": "no-referrer"})
