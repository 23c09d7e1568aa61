"""The host's routes that belong to no dialect: the welcome, health, counters, and what there is, told twice.

Knows no pipeline.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Blueprint, Response, jsonify, render_template_string, request

from api_host.errors import WrongToken
from api_host.metrics import Metrics
from api_host.web.auth import TokenGuard
from api_host.web.dialect import Dialect, Operation
from api_host.web.docs_page import DOCS_PAGE, SIGN_IN_PAGE, WELCOME_PAGE
from api_host.web.failures import ERROR_SCHEMA, error_response

OPEN_ENDPOINTS = ("host.welcome", "host.health", "host.ask_for_docs")
OPEN_PATHS = ("/", "/health", "/docs")
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'"
_HEALTH = {
    "type": "object",
    "properties": {"status": {"const": "ok"}, "version": {"type": "string"}},
    "required": ["status", "version"],
}
OPERATIONS = (
    Operation("GET", "/", "This page, or this list", media=("text/html", "text/plain")),
    Operation("GET", "/health", "Whether the host is up; needs no token", answer=_HEALTH),
    Operation("GET", "/metrics", "Counters for Prometheus", media=("text/plain",)),
    Operation("GET", "/openapi.json", "Every route, its fields and its errors, for programs"),
    Operation("GET", "/docs", "The same to read", media=("text/html",)),
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
            return _page(WELCOME_PAGE, version=version, operations=operations())
        lines = [f"{told.method:6} {told.path:34} {told.summary}" for told in operations()]
        return Response("\n".join([f"API Host {version}", *lines, ""]), mimetype="text/plain")

    @routes.get("/health")
    def health() -> Response:
        return jsonify({"status": "ok", "version": version})

    @routes.get("/metrics")
    def counters() -> Response:
        body, content_type = metrics.render()
        return Response(body, content_type=content_type)

    @routes.get("/openapi.json")
    def openapi() -> Response:
        return jsonify(document())

    @routes.get("/docs")
    def ask_for_docs() -> Response:
        # A browser has no way to send the header: it asks for the token, and posts it.
        try:
            guard.check(request)
        except WrongToken:
            return _page(SIGN_IN_PAGE)
        return _page(DOCS_PAGE, document=document())

    @routes.post("/docs")
    def docs() -> Response:
        return _page(DOCS_PAGE, document=document())

    return Dialect(routes, error_response, OPERATIONS, error_schema=ERROR_SCHEMA)


def _page(template: str, **values: Any) -> Response:
    page = render_template_string(template, **values)
    return Response(page, headers={"Content-Security-Policy": _POLICY, "Referrer-Policy": "no-referrer"})
