"""``/api/models``: what is there, loading and unloading.

Knows nothing of how a model is loaded; the pipeline does. Loads that nobody waits for go on in threads of their own,
which ``BackgroundLoads.close`` ends.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field
from typing import Any, Protocol

from flask import Blueprint, Response, jsonify

from api_host.errors import ApiHostError, HostStopping
from api_host.generation import LoadOptions
from api_host.web.answers import LoadAnswer, answer_format
from api_host.web.body import read_json
from api_host.web.dialect import Dialect, Operation
from api_host.web.failures import ERROR_SCHEMA, error_response
from api_host.web.naming import LoadFields, NamedModel, naming_problems
from api_host.web.streaming import Generation, Responder
from api_host.web.validation import Shape

log = logging.getLogger(__name__)

# A load that fails at once (no such file, cooling down) is still told with its status.
_EARLY_FAILURE_S = 0.5


class Pipeline(Protocol):
    """What these routes need of the pipeline."""

    def load(self, model: str | None, options: LoadOptions) -> Generation: ...

    def unload(self, model: str) -> None: ...

    def canonical(self, model: str | None) -> str: ...

    def models(self) -> list[dict[str, Any]]: ...

    @property
    def default_model(self) -> str | None: ...


@dataclass
class LoadBody(NamedModel):
    options: LoadFields | None = None
    wait: bool = field(default=False)


def _unload_problems(body: dict[str, Any]) -> list[str]:
    problems = naming_problems(body)
    if not problems and body.get("model") is None and body.get("repo_id") is None:
        problems.append("model: is missing; allowed: a model that GET /api/models lists as loaded")
    return problems


LOAD_SHAPE = Shape(LoadBody, naming_problems)
UNLOAD_SHAPE = Shape(NamedModel, _unload_problems)


class BackgroundLoads:
    """Loads that go on without the connection that asked for them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[threading.Thread, Generation] = {}
        self._closed = False

    def start(self, loading: Generation) -> None:
        """Lets ``loading`` run to its end in a thread.

        Raises:
            ApiHostError: it failed within half a second.
        """
        seen = threading.Event()
        failures: list[ApiHostError] = []
        thread = threading.Thread(
            target=self._run, args=(loading, seen, failures), name="api-host-load", daemon=True
        )
        with self._lock:
            if self._closed:
                loading.cancel()
                raise HostStopping("the host is stopping; load the model once it runs again")
            self._running[thread] = loading
            thread.start()
        seen.wait(_EARLY_FAILURE_S)
        if failures:
            raise failures[0]

    def _run(self, loading: Generation, seen: threading.Event, failures: list[ApiHostError]) -> None:
        try:
            for _ in loading:
                seen.set()
        except ApiHostError as failure:
            failures.append(failure)
            log.warning("loading a model failed: %s", failure)
        finally:
            seen.set()
            with self._lock:
                del self._running[threading.current_thread()]

    def close(self) -> None:
        """Cancels what still loads, and returns when the threads have ended; new loads are refused."""
        with self._lock:
            self._closed = True
            running = dict(self._running)
        for loading in running.values():
            loading.cancel()
        for thread in running:
            thread.join()


def dialect(pipeline: Pipeline, responder: Responder, background: BackgroundLoads) -> Dialect:
    """The routes on this pipeline; they belong to the native API."""
    routes = _routes(pipeline, responder, background)
    return Dialect(routes, error_response, OPERATIONS, error_schema=ERROR_SCHEMA)


def _routes(pipeline: Pipeline, responder: Responder, background: BackgroundLoads) -> Blueprint:
    routes = Blueprint("models", __name__)

    @routes.get("/api/models")
    def models() -> Response:
        return jsonify({"models": pipeline.models(), "default": pipeline.default_model})

    @routes.post("/api/models/load")
    def load() -> Response:
        body = LOAD_SHAPE.read(read_json())
        options = (body.options or LoadFields()).load_options()
        loading = pipeline.load(body.reference, options)
        if body.wait:
            return responder.respond(loading, answer_format(False, LoadAnswer()))
        background.start(loading)
        response = jsonify({"model": _status_of(pipeline, pipeline.canonical(body.reference))})
        response.status_code = 202
        return response

    @routes.post("/api/models/unload")
    def unload() -> Response:
        reference = UNLOAD_SHAPE.read(read_json()).reference
        assert reference is not None
        pipeline.unload(reference)
        return jsonify({"model": reference, "unloaded": True})

    return routes


def _status_of(pipeline: Pipeline, name: str) -> dict[str, Any]:
    for model in pipeline.models():
        if model["name"] == name:
            return model
    return {"name": name, "status": "loading"}


OPERATIONS = (
    Operation("GET", "/api/models", "The models and their status"),
    Operation("POST", "/api/models/load", "Load a model", LOAD_SHAPE, statuses=(200, 202)),
    Operation("POST", "/api/models/unload", "Unload a model", UNLOAD_SHAPE),
)
