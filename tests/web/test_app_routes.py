"""Everything beside POST /api: bodies, errors in JSON, models, metrics."""

from __future__ import annotations

import threading

import pytest
import requests

from api_host import errors
from api_host.engine.messages import EngineStats
from api_host.generation import Accepted, Finished, LoadOptions, Timings, Usage, Waiting
from tests.fakes.pipeline import FakePipeline
from tests.web.site import TOKEN, Site

LOADED = [Waiting("loading"), Accepted("demo", 0), Finished(Usage(), Timings())]


def send(
    site: Site, data: object, content_type: str | None = "application/json", **headers: str
) -> requests.Response:
    if content_type is not None:
        headers["Content-Type"] = content_type
    return site.session.post(site.url + "/api", data=data, headers=headers, timeout=20)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b'{"inputs": ', "the body is not valid JSON: EOF while parsing"),
        (b"", "the body is empty; send a JSON object"),
        (b"[1]", "the body is a list; allowed: a JSON object"),
        (b"5", "the body is a number; allowed: a JSON object"),
        (b'{"inputs": "\xff"}', "the body is not valid JSON: "),
        (b"[" * 100_000, "the body is not valid JSON: recursion limit exceeded"),
    ],
)
def test_a_body_that_is_no_json_object_is_refused(site: Site, body: bytes, sentence: str) -> None:
    response = send(site, body)
    assert response.status_code == 400
    (problem,) = response.json()["error"]
    assert problem.startswith(sentence)


@pytest.mark.parametrize(
    "content_type", [None, "text/plain", "application/x-www-form-urlencoded", "application/xml"]
)
def test_json_is_taken_whatever_its_content_type_says(site: Site, content_type: str | None) -> None:
    assert send(site, b'{"inputs": "Hi"}', content_type).status_code == 200


@pytest.mark.parametrize("content_type", ["application/json", "application/xml", None])
def test_a_byte_order_mark_is_passed_over(site: Site, content_type: str | None) -> None:
    assert send(site, b'\xef\xbb\xbf{"inputs": "Hi"}', content_type).status_code == 200
    body = b'\xef\xbb\xbf{"inputs": "Hi", "token": "' + TOKEN.encode() + b'"}'
    headers = {"Content-Type": content_type} if content_type else {}
    assert requests.post(f"{site.url}/api", body, headers=headers, timeout=10).status_code == 200
    assert send(site, b"\xef\xbb\xbf", content_type).json()["error"] == [
        "the body is empty; send a JSON object"
    ]


def test_a_plain_address_is_no_websocket(site: Site) -> None:
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket"}
    response = site.session.get(f"{site.url}/api/models", headers=upgrade, timeout=10)
    assert response.status_code == 400
    assert "for plain HTTP, or for a WebSocket alone" in response.json()["error"]


def test_another_media_type_is_refused_in_json(site: Site) -> None:
    response = send(site, b"<inputs>Hi</inputs>", "application/xml")
    assert (response.status_code, response.json()["code"]) == (415, "unsupported_media_type")
    response = send(site, b"\x1f\x8b", "application/json", **{"Content-Encoding": "gzip"})
    assert (response.status_code, response.json()["code"]) == (415, "unsupported_media_type")


def test_too_large_a_body_is_refused_and_the_refusal_can_be_read(site: Site) -> None:
    response = send(site, b"x" * (33 * 1024 * 1024))
    assert (response.status_code, response.json()["code"]) == (413, "body_too_large")
    assert site.post({"inputs": "Hi"}).status_code == 200


def test_too_large_a_chunked_body_is_refused_too(site: Site) -> None:
    response = send(site, (b"x" * (1 << 20) for _ in range(33)))
    assert (response.status_code, response.json()["code"]) == (413, "body_too_large")


def test_a_chunked_body_is_read(site: Site, pipeline: FakePipeline) -> None:
    pieces = [b'{"inputs": "', b"a" * 100_000, b'"}']
    for _ in range(2):
        assert send(site, iter(pieces)).status_code == 200
    assert pipeline.requests[1].inputs == "a" * 100_000


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "not_found"),
        ("POST", "/api/models", 405, "method_not_allowed"),
        ("GET", "/api", 405, "method_not_allowed"),
        ("DELETE", "/", 405, "method_not_allowed"),
    ],
)
def test_wrong_addresses_are_answered_in_json(
    site: Site, method: str, path: str, status: int, code: str
) -> None:
    response = site.session.request(method, site.url + path, timeout=10)
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert isinstance(response.json()["error"], str)
    assert ("Allow" in response.headers) == (status == 405)


def test_models_are_listed(site: Site, pipeline: FakePipeline) -> None:
    pipeline.known = [{"name": "demo", "status": "downloading", "bytes": 5}]
    assert site.get("/api/models").json() == {"models": pipeline.known, "default": "demo"}


def test_a_load_is_accepted_at_once_and_goes_on_alone(site: Site, pipeline: FakePipeline) -> None:
    pipeline.known = [{"name": "demo", "status": "loading"}]
    pipeline.script = lambda request: [Waiting("loading"), 2.0, *LOADED]
    response = site.post(
        {"model": "demo", "options": {"use_gpu": False, "ctx_lenght": 100}}, "/api/models/load"
    )
    assert not pipeline.generations[0].ended.is_set()
    assert (response.status_code, response.json()) == (202, {"model": {"name": "demo", "status": "loading"}})
    assert pipeline.loads == [("demo", LoadOptions(use_gpu=False, ctx_length=100))]
    assert pipeline.generations[0].ended.wait(15)
    assert not pipeline.generations[0].cancelled.is_set()


def test_a_load_that_fails_at_once_keeps_its_status(site: Site, pipeline: FakePipeline) -> None:
    pipeline.script = lambda request: [errors.RepoNotFound("there is no a/b")]
    response = site.post({"repo_id": "a/b", "file_name": "c.gguf"}, "/api/models/load")
    assert (response.status_code, response.json()["code"]) == (404, "repo_not_found")
    assert pipeline.loads[0][0] == "a/b/c.gguf"


def test_a_load_can_be_waited_for(site: Site, pipeline: FakePipeline) -> None:
    pipeline.script = lambda request: LOADED
    response = site.post({"model": "demo", "wait": True}, "/api/models/load")
    assert (response.status_code, response.json()) == (200, {"answer": None, "model": "demo", "loaded": True})


def test_a_model_is_unloaded(site: Site, pipeline: FakePipeline) -> None:
    assert site.post({"model": "demo"}, "/api/models/unload").json() == {"model": "demo", "unloaded": True}
    assert pipeline.unloaded == ["demo"]
    pipeline.refusal = errors.ModelBusy("demo is answering a request; try again later")
    assert site.post({"model": "demo"}, "/api/models/unload").status_code == 409


def test_model_routes_name_their_wrong_fields(site: Site) -> None:
    assert site.problems({"modle": "x"}, "/api/models/load") == [
        "modle: there is no such field; did you mean 'model'?"
    ]
    assert site.problems({}, "/api/models/unload") == [
        "model: is missing; allowed: a model that GET /api/models lists as loaded"
    ]


def test_closing_the_application_ends_its_background_loads() -> None:
    site = Site(FakePipeline())
    site.pipeline.script = lambda request: [Waiting("loading"), 60.0, *LOADED]
    assert site.post({"model": "demo"}, "/api/models/load").status_code == 202
    site.close()
    assert site.pipeline.generations[0].ended.is_set()
    assert not [thread for thread in threading.enumerate() if thread.name == "api-host-load"]


def test_metrics_tell_what_happened() -> None:
    site = Site(FakePipeline())
    try:
        site.post({"inputs": "Hi"})
        site.post({"inputs": "Hi", "stream": True})
        site.pipeline.script = lambda request: [Accepted("demo", 1), errors.WorkerDied("gone")]
        site.post({"inputs": "Hi", "stream": True})
        site.post({"inputs": 5})
        site.get("/nothing")
        site.metrics.downloaded(77)
        site.metrics.engine_stats = lambda: {"demo": EngineStats(3, 2, 100, 4096)}
        response = site.get("/metrics")
    finally:
        site.close()
    assert response.headers["Content-Type"].startswith("text/plain")
    lines = response.text.splitlines()
    for line in (
        'api_host_requests_total{dialect="native",route="/api",status="200"} 2.0',
        'api_host_requests_total{dialect="native",route="/api",status="503"} 1.0',
        'api_host_requests_total{dialect="native",route="/api",status="400"} 1.0',
        'api_host_requests_total{dialect="host",route="other",status="404"} 1.0',
        'api_host_tokens_total{kind="prompt"} 10.0',
        'api_host_tokens_total{kind="cached"} 4.0',
        'api_host_tokens_total{kind="completion"} 4.0',
        "api_host_time_to_first_token_seconds_count 2.0",
        "api_host_time_per_output_token_seconds_sum 2.0",
        "api_host_download_bytes_total 77.0",
        "api_host_models_loaded 1.0",
        'api_host_queue_depth{model="demo"} 3.0',
        'api_host_running{model="demo"} 2.0',
        'api_host_kv_cells_used{model="demo"} 100.0',
        'api_host_kv_cells_total{model="demo"} 4096.0',
    ):
        assert line in lines
