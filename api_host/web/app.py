"""The Flask application: blueprints, the token's guard, and errors in JSON.

Knows no field of any dialect, and no socket; ``server`` serves it.
"""

from __future__ import annotations

import time
from typing import Any, Protocol

from flask import Blueprint, Flask, Response, g, jsonify, render_template_string, request
from werkzeug.exceptions import HTTPException

from api_host.config import MAX_BODY_BYTES
from api_host.errors import ApiHostError
from api_host.metrics import Metrics
from api_host.web import model_routes
from api_host.web.auth import TokenGuard
from api_host.web.dialects import native
from api_host.web.failures import error_response, http_response, unexpected
from api_host.web.streaming import Outgoing, Pace, Responder

ENDPOINTS = (
    ("POST", "/api", "generate text; POST / is the same"),
    ("GET", "/api/models", "the models and their status"),
    ("POST", "/api/models/load", "load a model"),
    ("POST", "/api/models/unload", "unload a model"),
    ("GET", "/health", "whether the host is up; needs no token"),
    ("GET", "/metrics", "counters for Prometheus"),
)
_OPEN = ("host.welcome", "host.health")

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>API Host</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:44rem;margin:3rem auto;padding:0 1rem}
td{padding:.2rem 1rem .2rem 0;vertical-align:top}code,pre{font-family:ui-monospace,monospace}</style>
<h1>API Host {{ version }}</h1>
<p>A private LLM API. Every endpoint but <code>/health</code> takes the access token that the host printed when it
started, as <code>Authorization: Bearer TOKEN</code>.</p>
<table>{% for method, path, text in endpoints %}
<tr><td><code>{{ method }} {{ path }}</code><td>{{ text }}{% endfor %}
</table>
<pre>curl -H "Authorization: Bearer TOKEN" -d '{"inputs": "Hello"}' https://THIS-ADDRESS/api</pre>
"""
_PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


class Pipeline(native.Pipeline, model_routes.Pipeline, Protocol):
    """What the web layer needs of the pipeline."""


def create_app(
    pipeline: Pipeline, token: str | None, metrics: Metrics, version: str, pace: Pace | None = None
) -> Flask:
    """The WSGI application of one host.

    Args:
        pipeline: where requests go.
        token: the access token; None leaves everything open.
        metrics: where requests and tokens are counted.
        version: the host's version, for ``/health``.
        pace: when bytes of slow answers go; None is the contract's pace.

    Returns:
        The application; give it to ``close_app`` when its server has stopped.
    """
    app = Flask("api_host.web", static_folder=None)
    app.config.update(MAX_CONTENT_LENGTH=MAX_BODY_BYTES, MAX_FORM_MEMORY_SIZE=MAX_BODY_BYTES)
    background = model_routes.BackgroundLoads()
    app.extensions["api_host.background_loads"] = background
    responder = Responder(metrics, pace or Pace())
    _add_gate(app, TokenGuard(token))
    _add_accounts(app, metrics)
    _add_errors(app)
    app.register_blueprint(_host_routes(metrics, version))
    app.register_blueprint(native.blueprint(pipeline, responder))
    app.register_blueprint(model_routes.blueprint(pipeline, responder, background))
    return app


def close_app(app: Flask) -> None:
    """Ends what the application still does on its own: loads in the background, and their threads."""
    app.extensions["api_host.background_loads"].close()


def _add_gate(app: Flask, guard: TokenGuard) -> None:
    @app.before_request
    def check() -> Response | None:
        g.started = time.monotonic()
        if request.method == "OPTIONS":
            return Response(status=204)
        if request.routing_exception is None and request.endpoint not in _OPEN:
            guard.check(request)
        return None

    @app.after_request
    def share(response: Response) -> Response:
        # Tokens are sent by the page itself, never by the browser on its own: any origin may ask.
        response.headers["Access-Control-Allow-Origin"] = "*"
        response.headers["Access-Control-Expose-Headers"] = "Retry-After"
        if request.method == "OPTIONS":
            response.headers["Access-Control-Allow-Methods"] = "GET, POST, OPTIONS"
            response.headers["Access-Control-Allow-Headers"] = "Authorization, Content-Type, X-Api-Key"
            response.headers["Access-Control-Max-Age"] = "86400"
        return response


def _add_accounts(app: Flask, metrics: Metrics) -> None:
    @app.after_request
    def count_when_closed(response: Response) -> Response:
        started = g.started
        dialect = request.blueprint or "host"
        route = request.url_rule.rule if request.url_rule else "other"
        answer: Any = response.response

        def count() -> None:
            late = isinstance(answer, Outgoing) and answer.status != 200
            status = answer.status if late else response.status_code
            metrics.request_finished(dialect, route, status, time.monotonic() - started)

        response.call_on_close(count)
        return response


def _add_errors(app: Flask) -> None:
    app.register_error_handler(ApiHostError, error_response)
    app.register_error_handler(HTTPException, http_response)

    @app.errorhandler(Exception)
    def crashed(failure: Exception) -> Response:
        return error_response(unexpected(failure))


def _host_routes(metrics: Metrics, version: str) -> Blueprint:
    routes = Blueprint("host", __name__)

    @routes.get("/")
    def welcome() -> Response:
        if "text/html" in request.headers.get("Accept", ""):
            page = render_template_string(_PAGE, version=version, endpoints=ENDPOINTS)
            return Response(page, headers={"Content-Security-Policy": _PAGE_POLICY})
        lines = [f"{method:4} {path:18} {text}" for method, path, text in ENDPOINTS]
        return Response("\n".join([f"API Host {version}", *lines, ""]), mimetype="text/plain")

    @routes.get("/health")
    def health() -> Response:
        return jsonify({"status": "ok", "version": version})

    @routes.get("/metrics")
    def counters() -> Response:
        body, content_type = metrics.render()
        return Response(body, content_type=content_type)

    return routes
