"""The token: every place it may stand in, and what a wrong one gets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.fakes.pipeline import FakePipeline
from tests.web.site import TOKEN, Site

BODY = {"inputs": "Hi"}
WRONG = b'{"error":"wrong token"}'


def ask(site: Site, **options: Any) -> requests.Response:
    options.setdefault("json", BODY)
    return requests.post(site.url + "/api", timeout=10, **options)


@pytest.mark.parametrize(
    "carried",
    [
        {"headers": {"Authorization": f"Bearer {TOKEN}"}},
        {"headers": {"Authorization": f"bearer {TOKEN}"}},
        {"headers": {"Authorization": f"Api-Key {TOKEN}"}},
        {"headers": {"x-api-key": TOKEN}},
        {"headers": {"Authorization": "Basic abc", "x-api-key": TOKEN}},
        {"json": {**BODY, "token": TOKEN}},
        {"cookies": {"api_host_token": TOKEN}},
        {"cookies": {"api_host_token": "stale"}, "json": {**BODY, "token": TOKEN}},
    ],
)
def test_the_token_is_taken_wherever_it_may_stand(site: Site, carried: dict[str, Any]) -> None:
    assert ask(site, **carried).status_code == 200


@pytest.mark.parametrize(
    "carried",
    [
        {},
        {"headers": {"Authorization": "Bearer wrong"}},
        {"headers": {"Authorization": f"Bearer {TOKEN}x"}},
        {"headers": {"Authorization": f"Basic {TOKEN}"}},
        {"headers": {"x-api-key": ""}},
        {"headers": {"x-api-key": "é".encode()}},
        {"json": {**BODY, "token": "wrong"}},
        {"json": {**BODY, "token": None}},
        {"json": {**BODY, "token": [TOKEN]}},
        {"json": {**BODY, "token": "é\udcff"}},
        {"json": {**BODY, "token": TOKEN}, "headers": {"Authorization": "Bearer wrong"}},
        {"cookies": {"api_host_token": "wrong"}},
        {"params": {"token": TOKEN}},
        {"data": {"token": "wrong"}, "json": None},
    ],
)
def test_a_wrong_or_missing_token_is_refused(
    site: Site, pipeline: FakePipeline, carried: dict[str, Any]
) -> None:
    response = ask(site, **carried)
    assert response.status_code in (400, 403)
    if response.status_code == 403:
        assert response.content.replace(b" ", b"").strip() == WRONG.replace(b" ", b"")
    else:
        assert "udcff" in str(carried)  # a lone surrogate is no JSON text at all
    assert TOKEN not in response.text
    assert pipeline.requests == []


def test_a_form_field_opens_the_door(site: Site) -> None:
    response = ask(site, data={"token": TOKEN, "inputs": "x"}, json=None)
    assert response.status_code == 400  # past the door: the body is not JSON
    assert "not valid JSON" in response.json()["error"][0]


def test_a_header_token_is_judged_before_the_body(site: Site) -> None:
    response = ask(site, json=None, data=b"{broken", headers={"Authorization": "Bearer wrong"})
    assert response.status_code == 403


@pytest.mark.parametrize("path", ["/metrics", "/api/models"])
def test_other_routes_need_the_token_too(site: Site, path: str) -> None:
    assert requests.get(site.url + path, timeout=10).status_code == 403
    assert site.get(path).status_code == 200


@pytest.mark.parametrize("path", ["/api/models/load", "/api/models/unload"])
def test_models_are_not_touched_without_the_token(site: Site, pipeline: FakePipeline, path: str) -> None:
    assert requests.post(site.url + path, json={"model": "demo"}, timeout=10).status_code == 403
    assert pipeline.loads == pipeline.unloaded == []


def test_health_and_preflights_are_open(site: Site) -> None:
    health = requests.get(site.url + "/health", timeout=10)
    assert (health.status_code, health.json()) == (200, {"status": "ok", "version": "1.2.3"})
    asks = {"Origin": "https://x.example", "Access-Control-Request-Method": "POST"}
    preflight = requests.options(site.url + "/api", headers=asks, timeout=10)
    assert preflight.status_code == 204
    assert preflight.headers["Access-Control-Allow-Origin"] == "*"
    assert "authorization" in preflight.headers["Access-Control-Allow-Headers"].lower()


def test_errors_too_can_be_read_by_another_origin(site: Site) -> None:
    assert ask(site).headers["Access-Control-Allow-Origin"] == "*"


@pytest.fixture
def open_site() -> Iterator[Site]:
    site = Site(FakePipeline(), token=None)
    yield site
    site.close()


def test_without_a_token_everything_is_open(open_site: Site) -> None:
    assert ask(open_site).status_code == 200
    assert ask(open_site, json={**BODY, "token": "whatever"}).status_code == 200
    assert requests.get(open_site.url + "/metrics", timeout=10).status_code == 200


def test_the_token_is_never_logged(site: Site, caplog: pytest.LogCaptureFixture, capfd: Any) -> None:
    caplog.set_level("DEBUG")
    ask(site, json={**BODY, "token": TOKEN, "x": 1})
    ask(site, params={"token": TOKEN})
    ask(site, json=None, data=b'{"token": "%b", ' % TOKEN.encode())
    assert all(
        TOKEN not in record.getMessage() for record in caplog.records if record.name.startswith("api_host")
    )
    assert TOKEN not in "".join(capfd.readouterr())
