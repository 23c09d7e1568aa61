"""A whole host: real HTTP, real workers, the demo model; the hub is the loopback hub."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
import requests

from api_host.host import ApiHost
from api_host.models.demo import DEMO_MODEL_PATH
from tests.fakes.asking import (
    ENDLESS,
    capital_of,
    completion_tokens,
    model_of,
    post,
    send_only,
    text_of,
    within,
    worker_pids,
)
from tests.fakes.hub import LoopbackHub

pytestmark = pytest.mark.usefixtures("clean_settings")

REPO, FILE = "owner/demo-GGUF", "demo-Q8_0.gguf"
CAPITALS = {
    "France": "Paris",
    "Italy": "Rome",
    "Spain": "Madrid",
    "Germany": "Berlin",
    "Japan": "Tokyo",
    "Greece": "Athens",
    "Poland": "Warsaw",
    "Portugal": "Lisbon",
}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackHub]:
    with LoopbackHub() as hub:
        hub.add(REPO, FILE, DEMO_MODEL_PATH)
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield hub


def test_the_first_request_downloads_loads_and_answers_and_the_second_asks_no_hub(
    hub: LoopbackHub, tmp_path: Path, leaves_nothing: Callable[[], None]
) -> None:
    body = {
        "task": "text_generation",
        "repo_id": REPO,
        "file_name": FILE,
        "inputs": capital_of("France"),
        "parameters": {"max_tokens": 32, "top_k": 1, "top_p": 0.95, "temperature": 1},
        "options": {"use_gpu": True, "ctx_length": 512},
    }
    with ApiHost(tunnel=False, port=0, models_dir=tmp_path, disk_reserve=0, announce=False) as host:
        assert "Paris" in text_of(post(host, body))
        asked = len(hub.requests)
        assert asked > 0
        completion = {**body, "inputs": "Hello ! Today I can do these activities:"}
        bare_url = requests.post(host.local_url, json={"token": host.access_token, **completion}, timeout=60)
        assert len(text_of(bare_url)) > 5
        assert "Rome" in text_of(post(host, {**body, "inputs": capital_of("Italy")}))
        assert len(hub.requests) == asked
        assert model_of(host, f"{REPO}/{FILE}")["status"] == "loaded"


def test_eight_clients_at_once_get_eight_right_answers(demo_host: ApiHost) -> None:
    def ask(country: str) -> str:
        return text_of(post(demo_host, {"inputs": capital_of(country), "parameters": {"top_k": 1}}))

    with ThreadPoolExecutor(8) as clients:
        answers = dict(zip(CAPITALS, clients.map(ask, CAPITALS), strict=True))
    assert {country: CAPITALS[country] in answer for country, answer in answers.items()} == dict.fromkeys(
        CAPITALS, True
    )


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_goes_frees_its_slot(demo_host: ApiHost, stream: bool) -> None:
    text_of(post(demo_host, {"inputs": "Hello"}))
    finished = completion_tokens(demo_host)
    with send_only(demo_host, {**ENDLESS, "stream": stream}):
        assert within(5, lambda: model_of(demo_host, "demo")["n_running"] == 1)
    assert within(10, lambda: model_of(demo_host, "demo")["n_running"] == 0)
    assert completion_tokens(demo_host) == finished  # it was cut short, it did not run to its end


def test_a_killed_worker_fails_its_requests_at_once_and_the_next_one_is_answered(
    demo_host: ApiHost,
) -> None:
    assert "Paris" in text_of(post(demo_host, {"inputs": capital_of("France"), "parameters": {"top_k": 1}}))
    with ThreadPoolExecutor(6) as clients:
        waiting = [clients.submit(post, demo_host, ENDLESS) for _ in range(6)]
        n_slots = model_of(demo_host, "demo")["n_slots"]
        assert within(10, lambda: model_of(demo_host, "demo")["n_running"] == min(6, n_slots))
        killed = time.monotonic()
        (worker,) = worker_pids()
        psutil.Process(worker).kill()
        answers = [future.result() for future in waiting]
        assert time.monotonic() - killed < 10
    assert [answer.json().get("code") for answer in answers] == ["worker_died"] * 6
    assert "Rome" in text_of(post(demo_host, {"inputs": capital_of("Italy"), "parameters": {"top_k": 1}}))


def test_a_context_that_is_too_short_is_refused_and_one_that_is_longer_loads_anew(demo_host: ApiHost) -> None:
    long = {"inputs": "word " * 200, "parameters": {"max_tokens": 8}, "options": {"ctx_length": 64}}
    refusal = post(demo_host, long)
    assert (refusal.status_code, refusal.json()["code"]) == (400, "context_length_exceeded")
    assert refusal.json()["n_ctx"] == 64


def test_a_wrong_token_is_refused(demo_host: ApiHost) -> None:
    answer = post(demo_host, {"token": "not-the-token", "inputs": "Hello"})
    assert (answer.status_code, answer.json()["error"]) == (403, "wrong token")


def test_a_file_that_is_no_model_fails_with_the_reason_and_is_then_left_alone(
    tmp_path: Path, demo_host: ApiHost
) -> None:
    folder = demo_host.config.models_dir
    assert folder is not None
    (folder / "broken.gguf").write_bytes(b"GGUF" + bytes(1000))
    body = {"model": "broken.gguf", "inputs": "Hello"}
    first, second = post(demo_host, body), post(demo_host, body)
    assert (first.status_code, first.json()["code"]) == (422, "model_load_failed")
    assert str(folder) not in first.text
    assert second.status_code == 422 and "left alone" in second.json()["error"]
    assert int(second.headers["Retry-After"]) in range(1, 11)


def test_two_models_share_a_budget_and_the_idle_one_makes_room(
    tmp_path: Path, leaves_nothing: Callable[[], None]
) -> None:
    (tmp_path / "copy.gguf").write_bytes(DEMO_MODEL_PATH.read_bytes())
    size = DEMO_MODEL_PATH.stat().st_size
    settings = {"tunnel": False, "port": 0, "models_dir": tmp_path, "announce": False}
    with ApiHost(ctx_length=64, parallel=1, memory_budget=size * 3 // 2, **settings) as host:
        for name in ("demo", "copy.gguf", "demo"):
            text_of(post(host, {"model": name, "inputs": "Hello", "parameters": {"max_tokens": 4}}))
            assert model_of(host, name)["status"] == "loaded"
        assert model_of(host, "copy.gguf")["status"] == "unloaded"
