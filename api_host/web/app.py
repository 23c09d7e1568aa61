"""The Flask application: blueprints, the token's guard, and errors in JSON.

Knows no field of any dialect, and no socket; ``server`` serves it.
"""

from __future__ import annotations

import functools
import time
from typing import Any, Protocol

from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException

from api_host.errors import ApiHostError
from api_host.metrics import Metrics
from api_host.web import host_routes, model_routes
from api_host.web.application import Application
from api_host.web.auth import TokenGuard
from api_host.web.current import notes, this_request
from api_host.web.dialect import Dialect, Operation
from api_host.web.dialects import anthropic, llm_api, native, ollama, openai, petals, truss, zephyr
from api_host.web.failures import error_response, from_http, unexpected, with_headers_of
from api_host.web.openapi import document
from api_host.web.streaming import Outgoing, Pace, Responder

DIALECTS = (openai, anthropic, ollama, petals, truss, llm_api, zephyr)


class Pipeline(
    native.Pipeline,
    model_routes.Pipeline,
    openai.Pipeline,
    anthropic.Pipeline,
    ollama.Pipeline,
    petals.Pipeline,
    truss.Pipeline,
    llm_api.Pipeline,
    zephyr.Pipeline,
    Protocol,
):
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
    app = Application("api_host.web", static_folder=None)
    # Werkzeug would answer with a redirect, which behind a tunnel leads from https to http.
    app.url_map.merge_slashes = False
    background = model_routes.BackgroundLoads()
    app.extensions["api_host.background_loads"] = background
    responder = Responder(metrics, pace or Pace())
    guard = TokenGuard(token)
    dialects: list[Dialect] = []
    tell = functools.cache(lambda: document(app, dialects, version, host_routes.OPEN_PATHS))
    dialects += [
        host_routes.dialect(metrics, version, guard, lambda: _operations(dialects), tell),
        native.dialect(pipeline, responder),
        model_routes.dialect(pipeline, responder, background),
        *[module.dialect(pipeline, responder) for module in DIALECTS],
    ]
    _add_gate(app, guard)
    _add_accounts(app, metrics)
    _add_errors(app, dialects)
    for dialect in dialects:
        app.register_blueprint(dialect.blueprint)
    return app


def _operations(dialects: list[Dialect]) -> list[Operation]:
    return [operation for dialect in dialects for operation in dialect.operations]


def close_app(app: Flask) -> None:
    """Ends what the application still does on its own: loads in the background, and their threads."""
    app.extensions["api_host.background_loads"].close()


def _add_gate(app: Flask, guard: TokenGuard) -> None:
    @app.before_request
    def check() -> Response | None:
        g.started = time.monotonic()
        asked = this_request()
        if asked.method == "OPTIONS":
            return Response(status=204)
        if asked.routing_exception is None and asked.endpoint not in host_routes.OPEN_ENDPOINTS:
            guard.check(asked)
        return None

    @app.after_request
    def share(response: Response) -> Response:
        # Tokens are sent by the page itself, never by the browser on its own: any origin may ask.
        response.headers["Access-Control-Allow-Origin"] = "*"
        response.headers["Access-Control-Expose-Headers"] = "Retry-After, X-Cache"
        if request.method == "OPTIONS":
            response.headers["Access-Control-Allow-Methods"] = "GET, POST, DELETE, OPTIONS"
            # Each client library has headers of its own; what they say is judged by the guard, or by nobody.
            wanted = request.headers.get(
                "Access-Control-Request-Headers", "Authorization, Content-Type, X-Api-Key"
            )
            response.headers["Access-Control-Allow-Headers"] = wanted
            response.headers["Vary"] = "Access-Control-Request-Headers"
            response.headers["Access-Control-Max-Age"] = "86400"
        return response


def _add_accounts(app: Flask, metrics: Metrics) -> None:
    @app.after_request
    def count_when_closed(response: Response) -> Response:
        asked, noted = this_request(), notes()
        started = noted.started
        dialect = asked.blueprint or "host"
        route = asked.url_rule.rule if asked.url_rule else "other"
        answer: Any = response.response
        early = response.status_code, noted.get("failure")

        # Without the response, which would hold itself by it, and be left to the garbage collector.
        def count() -> None:
            late = isinstance(answer, Outgoing) and answer.status != 200
            status, message = (answer.status, answer.failure) if late else early
            metrics.request_finished(dialect, route, status, time.monotonic() - started, message)

        response.call_on_close(count)
        return response


def _add_errors(app: Flask, dialects: list[Dialect]) -> None:
    """Has each error answered in the shape of the dialect that was spoken to."""
    by_name = {dialect.blueprint.name: dialect.respond for dialect in dialects}
    by_path = sorted(
        ((path, dialect.respond) for dialect in dialects for path in dialect.paths),
        key=lambda entry: -len(entry[0]),
    )

    def respond(error: ApiHostError) -> Response:
        g.failure = error.message
        spoken = by_name.get(request.blueprint or "")
        if spoken is None:
            spoken = next((shape for path, shape in by_path if request.path.startswith(path)), error_response)
        return spoken(error)

    app.register_error_handler(ApiHostError, respond)

    @app.errorhandler(HTTPException)
    def refused(failure: HTTPException) -> Response:
        return with_headers_of(failure, respond(from_http(failure, request.path)))

    @app.errorhandler(Exception)
    def crashed(failure: Exception) -> Response:
        return respond(unexpected(failure))
