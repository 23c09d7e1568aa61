"""One standard for the errors of all dialects: status, the dialect's own shape, a sentence that says what to mend."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from api_host import errors
from api_host.generation import Accepted, Chunk
from tests.dialects.routes_of_all import ROUTES, Route, Wrong
from tests.fakes.pipeline import FakePipeline
from tests.web.site import TOKEN, Site

ROOT = Path(__file__).parent.parent.parent
SECRET = "the weights lie in /home/owner/models/secret.gguf"
TOO_LARGE = b'{"inputs": "%b"}' % (b"x" * (33 * 1024 * 1024))


@dataclass(frozen=True)
class Case:
    """What goes wrong: how it is provoked, the status, and words of the sentence for a route.

    ``refused_by_http`` marks what even a dialect that answers everything else with a 200 answers with its status.
    """

    status: int
    ask: Callable[[Site, Route], requests.Response]
    words: Callable[[Route], str]
    refused_by_http: bool = False


def _send(
    site: Site, route: Route, data: bytes | None = None, token: str | None = TOKEN, method: str = "POST"
) -> requests.Response:
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    data = json.dumps(route.good).encode() if data is None else data
    return requests.request(method, site.url + route.path, data=data, headers=headers, timeout=20)


def _wrong_body(wrong: Callable[[Route], Wrong]) -> Callable[[Site, Route], requests.Response]:
    return lambda site, route: _send(site, route, json.dumps(wrong(route).body(route.good)).encode())


def _failing(failure: Exception) -> Callable[[Site, Route], requests.Response]:
    def ask(site: Site, route: Route) -> requests.Response:
        site.pipeline.failure = failure
        return _send(site, route)

    return ask


def _refusing(refusal: Exception) -> Callable[[Site, Route], requests.Response]:
    def ask(site: Site, route: Route) -> requests.Response:
        site.pipeline.refusal = refusal
        return _send(site, route)

    return ask


def _unknown(site: Site, route: Route) -> requests.Response:
    return site.post(route.good, route.dialect.unknown)


FULL = errors.QueueFull("3 requests wait for demo already; try again later", retry_after=6.5, limit=3)
TOO_LONG = errors.ContextLengthExceeded(
    "inputs: the prompt has 90 tokens and the context holds 64; shorten it or ask for a longer options.ctx_length",
    n_prompt_tokens=90,
    n_ctx=64,
)

CASES = {
    "wrong token": Case(
        401, lambda site, route: _send(site, route, token="x"), lambda route: "wrong token", True
    ),
    "no token": Case(
        401, lambda site, route: _send(site, route, token=None), lambda route: "wrong token", True
    ),
    "missing field": Case(
        400,
        _wrong_body(lambda route: route.missing),
        lambda route: f"{route.missing.field}: is missing; ",
    ),
    "wrong type": Case(
        400, _wrong_body(lambda route: route.wrong_type), lambda route: f"{route.wrong_type.field}: "
    ),
    "out of range": Case(
        400, _wrong_body(lambda route: route.out_of_range), lambda route: f"{route.out_of_range.field}: "
    ),
    "broken JSON": Case(
        400, lambda site, route: _send(site, route, b'{"a": '), lambda route: "the body is not valid JSON"
    ),
    "no object": Case(400, lambda site, route: _send(site, route, b"[1]"), lambda route: "JSON object"),
    "too large": Case(413, lambda site, route: _send(site, route, TOO_LARGE), lambda route: "at most", True),
    "unknown route": Case(404, _unknown, lambda route: "nothing at this address", True),
    "wrong method": Case(
        405, lambda site, route: _send(site, route, method="PUT"), lambda route: "allowed: ", True
    ),
    "crash": Case(500, _failing(RuntimeError(SECRET)), lambda route: "internal error"),
    "crash at once": Case(500, _refusing(RuntimeError(SECRET)), lambda route: "internal error"),
    "no such model": Case(
        404, _failing(errors.RepoNotFound("there is no a/b on the hub")), lambda route: "there is no a/b"
    ),
    "no name of a model": Case(
        400,
        _refusing(errors.InvalidRequest("model: 'x y' is not the name of a model")),
        lambda route: "model: ",
    ),
    "queue full": Case(429, _failing(FULL), lambda route: "3 requests wait"),
    "queue full at once": Case(429, _refusing(FULL), lambda route: "3 requests wait"),
    "too long": Case(
        400,
        _failing(TOO_LONG),
        lambda route: (
            f"{route.inputs}: the prompt has 90 tokens and the context holds 64; "
            f"shorten it or ask for a longer {route.dialect.context}"
        ),
    ),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.path)
def test_an_error_is_told_in_its_dialects_own_shape(site: Site, route: Route, name: str) -> None:
    case = CASES[name]
    response = case.ask(site, route)

    status = route.dialect.wrong_token if case.status == 401 else case.status
    if route.dialect.always_ok and not case.refused_by_http:
        status = 200
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"].startswith("application/json")
    assert case.words(route) in route.dialect.sentence(response)
    for leak in ("Traceback", "secret", str(ROOT), "site-packages", TOKEN):
        assert leak not in response.text
    if case.status == 429:
        assert response.headers["Retry-After"] == "7"
    if status == 401:
        assert response.headers["WWW-Authenticate"] == "Bearer"
    if status == 405:
        assert "POST" in response.headers["Allow"]


@pytest.mark.parametrize(
    "route", [route for route in ROUTES if route.streamed is not None], ids=lambda route: route.path
)
def test_a_crash_after_the_first_byte_ends_a_stream_with_an_id_to_ask_about(
    site: Site, pipeline: FakePipeline, route: Route, caplog: pytest.LogCaptureFixture
) -> None:
    crash = RuntimeError(SECRET)
    pipeline.script = lambda request: [Accepted("demo", 5, ""), Chunk("Hello", n_tokens=1), 0.2, crash]
    with caplog.at_level(logging.CRITICAL, "api_host"):
        response = site.post({**route.good, **(route.streamed or {})}, route.path)
    assert response.status_code == 200
    assert "Hello" in response.text
    ending = response.text.split("Hello", 1)[1]
    assert "internal error" in ending
    assert "secret" not in ending and "Traceback" not in ending


def test_every_route_that_takes_a_body_is_held_to_the_standard(site: Site) -> None:
    """Those that are left out here only tell of models, or differ from one that is not in a word of their prompt."""
    left_out = {
        "/": "the same as /api",
        "/api/models/load": "models",
        "/api/models/unload": "models",
        "/api/show": "models",
        "/api/pull": "models",
        "/api/embeddings": "as /api/embed",
        "/zephyr/system-message": "as /zephyr/python",
        "/zephyr/structured-code-doc": "as /zephyr/python",
        "/docs": "a page",
    }
    document = site.get("/openapi.json").json()
    posted = {path for path, methods in document["paths"].items() if "post" in methods}
    assert posted == {route.path for route in ROUTES} | left_out.keys()
