"""A host's facts: what the parts know, in one snapshot."""

from __future__ import annotations

import threading
import time

import pytest
import requests

from api_host.facts import RATE_WINDOW_S, Addresses, Facts, FactsReader, ModelFacts
from api_host.gpus import Gpus
from api_host.host import ApiHost
from api_host.metrics import Metrics
from tests.fakes.asking import ENDLESS, capital_of, completion_tokens, post, send_only, text_of, within
from tests.fakes.pool_ground import Ground, eventually


def reader_of(ground: Ground, default: str | None = None, metrics: Metrics | None = None) -> FactsReader:
    return FactsReader(
        Addresses, lambda: None, ground.pool.entries, default, metrics or Metrics(), Gpus(no_bindings)
    )


def no_bindings() -> None:
    raise ImportError


def model_in(facts: Facts, name: str) -> ModelFacts:
    return next(model for model in facts.models if model.name == name)


def test_a_download_is_told_in_bytes_and_a_load_in_seconds(pool_ground: Ground) -> None:
    reader = reader_of(pool_ground)
    pool_ground.source.gate.clear()
    pool_ground.workers.gate.clear()
    lease = pool_ground.claim("owner/name/a.gguf")
    eventually(lambda: model_in(reader.read(), "owner/name/a.gguf").bytes_done == 500)
    told = model_in(reader.read(), "owner/name/a.gguf")
    assert (told.status, told.bytes_total, told.seconds) == ("downloading", 1000, None)
    pool_ground.source.gate.set()
    eventually(lambda: model_in(reader.read(), "owner/name/a.gguf").status == "loading")
    told = model_in(reader.read(), "owner/name/a.gguf")
    assert told.seconds is not None and told.bytes_total is None
    pool_ground.workers.gate.set()
    eventually(lambda: model_in(reader.read(), "owner/name/a.gguf").status == "loaded")
    lease.release()


def test_the_default_model_is_told_first(pool_ground: Ground) -> None:
    for name in ("owner/a/a.gguf", "owner/z/z.gguf"):
        pool_ground.use(name)
    names = [model.name for model in reader_of(pool_ground, "owner/z/z.gguf").read().models]
    assert names == ["owner/z/z.gguf", "owner/a/a.gguf"]


def test_a_failure_of_several_sentences_is_one_text() -> None:
    entry = dict.fromkeys(
        (
            "size",
            "description",
            "n_params",
            "device",
            "n_ctx",
            "n_slots",
            "n_layer",
            "n_gpu_layers",
            "progress",
        )
    )
    error = {"error": ["one", "two"], "code": "x", "status": 400}
    told = ModelFacts.of(
        {
            **entry,
            "name": "a",
            "status": "failed",
            "error": error,
            "n_running": 0,
            "n_waiting": 0,
            "notes": [],
        }
    )
    assert told.error == "one; two"


def test_the_rate_is_that_of_the_last_seconds(pool_ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = Metrics()
    reader = reader_of(pool_ground, metrics=metrics)
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    rates = []
    for _ in range(20):
        rates.append(reader.read().tokens_per_second)
        metrics.tokens_came(40)
        clock[0] += 1
    assert rates[0] == 0 and rates[1:] == [40.0] * 19
    clock[0] += RATE_WINDOW_S
    reader.read()
    clock[0] += RATE_WINDOW_S
    assert reader.read().tokens_per_second == 0


def test_a_hosts_requests_tokens_and_memory_are_counted(demo_host: ApiHost) -> None:
    before = demo_host.facts()
    answer = post(demo_host, {"inputs": capital_of("France"), "parameters": {"top_k": 1}})
    text_of(answer)
    assert within(10, lambda: demo_host.facts().requests == before.requests + 1)
    facts = demo_host.facts()
    assert facts.tokens - before.tokens == answer.json()["usage"]["completion_tokens"]
    assert facts.tokens == completion_tokens(demo_host)
    assert facts.models[0].name == facts.default_model == "demo"
    assert facts.models[0].status == "loaded"
    assert facts.addresses == Addresses(demo_host.local_url, None, None, tunnel_wanted=False)
    assert 0 < facts.memory_used < facts.memory_total
    assert facts.uptime is not None and facts.uptime > 0


def test_looking_at_a_host_is_no_request(demo_host: ApiHost) -> None:
    before = demo_host.facts().requests
    headers = {"Authorization": f"Bearer {demo_host.access_token}"}
    for path in ("/health", "/api/models", "/metrics"):
        assert requests.get(demo_host.local_url + path, headers=headers, timeout=10).status_code == 200
    post(demo_host, {"inputs": capital_of("Spain")})
    assert within(10, lambda: demo_host.facts().requests > before)
    assert demo_host.facts().requests == before + 1


def test_tokens_are_counted_while_they_come(demo_host: ApiHost) -> None:
    before = demo_host.facts().tokens
    client = send_only(demo_host, {**ENDLESS, "stream": True})
    assert within(10, lambda: demo_host.facts().tokens > before + 20)
    assert demo_host.facts().n_running == 1
    assert demo_host.facts().tokens_per_second > 0
    client.close()
    assert within(10, lambda: demo_host.facts().n_running == 0)


def test_the_last_failure_is_told_with_its_reason_and_a_client_that_goes_is_none(demo_host: ApiHost) -> None:
    post(demo_host, {"inputs": "Hello", "parameters": {"max_tokens": -1}})
    assert within(10, lambda: demo_host.facts().last_failure is not None)
    failure = demo_host.facts().last_failure
    assert failure is not None
    assert (failure.route, failure.status) == ("/api", 400)
    assert "max_tokens" in failure.message
    client = send_only(demo_host, ENDLESS)
    assert within(10, lambda: demo_host.facts().n_running == 1)
    client.close()
    assert within(10, lambda: demo_host.facts().n_running == 0)
    assert demo_host.facts().last_failure == failure
    requests.post(f"{demo_host.local_url}/api", json={"token": "wrong", "inputs": "Hello"}, timeout=10)
    assert within(10, lambda: getattr(demo_host.facts().last_failure, "status", 0) == 403)
    assert "wrong" not in getattr(demo_host.facts().last_failure, "message", "").replace("wrong token", "")


def test_facts_can_be_read_by_many_threads_at_once(demo_host: ApiHost) -> None:
    read: list[Facts] = []
    threads = [
        threading.Thread(target=lambda: read.extend(demo_host.facts() for _ in range(20))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(read) == 160


@pytest.mark.usefixtures("clean_settings")
def test_a_host_that_does_not_run_has_no_address_and_no_uptime() -> None:
    host = ApiHost(tunnel=False, port=0, announce=False)
    for _ in range(2):
        facts = host.facts()
        assert (facts.uptime, facts.addresses.local, facts.models) == (None, None, ())
        with host:
            assert host.facts().uptime is not None
