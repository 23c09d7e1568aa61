"""Answers in a real Redis server, and what becomes of requests when it goes away."""

from __future__ import annotations

import logging
import os
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from api_host.errors import InvalidRequest
from api_host.host import ApiHost
from api_host.response_cache.redis import PREFIX, TIMEOUT_S, RedisStore
from tests.fakes.asking import capital_of, text_of
from tests.response_cache.redis_server import RedisServer

redis = pytest.importorskip("redis", reason="the package redis is missing; pip install 'api-host[redis]'")

LONG = 3600.0
QUESTION = {"inputs": capital_of("France"), "parameters": {"top_k": 1}}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path, password="a-secret-of-redis").start()
    yield server
    server.kill()


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def patience() -> float:
    """Seconds that the store waits for a server, which may be slow on a busy machine."""
    return 20.0


@pytest.fixture
def store(
    server: RedisServer, clock: Clock, patience: float, monkeypatch: pytest.MonkeyPatch
) -> Iterator[RedisStore]:
    monkeypatch.setattr("api_host.response_cache.redis.TIMEOUT_S", patience)
    store = RedisStore(server.url, 1000, LONG, pause=5, clock=clock)
    yield store
    store.close()


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_what_is_put_is_there_for_another_host_below_the_prefix_and_with_an_age(
    store: RedisStore, server: RedisServer
) -> None:
    assert store.get("a") is None
    store.put("a", b"\x00\xff")
    other = RedisStore(server.url, 1000, LONG)
    assert other.get("a") == b"\x00\xff"
    other.close()
    with redis.Redis.from_url(server.url) as plain:
        assert plain.keys() == [f"{PREFIX}a".encode()]
        assert LONG - 60 < plain.ttl(f"{PREFIX}a") <= LONG


def test_redis_forgets_what_is_too_old(server: RedisServer) -> None:
    store = RedisStore(server.url, 1000, 0.05)
    store.put("a", b"1")
    deadline = time.monotonic() + 3
    while store.get("a") is not None:
        assert time.monotonic() < deadline
    store.close()


def test_too_large_an_answer_is_not_sent(store: RedisStore) -> None:
    store.put("a", b"x" * 1001)
    store.put("b", b"x" * 1000)
    assert (store.get("a"), store.get("b")) == (None, b"x" * 1000)


def test_a_key_of_another_type_is_a_miss(store: RedisStore, server: RedisServer) -> None:
    with redis.Redis.from_url(server.url) as plain:
        plain.rpush(f"{PREFIX}a", "not text")
    assert store.get("a") is None


def test_a_full_server_still_gives_what_it_has_and_warns_once(
    store: RedisStore, server: RedisServer, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    store.put("kept", b"1")
    with redis.Redis.from_url(server.url) as plain:
        plain.config_set("maxmemory", 1)
        for now in range(12):
            clock.now = float(now)
            store.put(f"new{now}", b"2")
            assert (store.get(f"new{now}"), store.get("kept")) == (None, b"1")
        assert len(warnings(caplog)) == 1
        plain.config_set("maxmemory", 0)
        plain.rpush(f"{PREFIX}list", "not text")
    for _ in range(2):
        assert (store.get("list"), store.get("kept")) == (None, b"1")
    assert len(warnings(caplog)) == 2
    store.put("new", b"2")
    assert store.get("new") == b"2"


def test_a_server_that_goes_costs_one_warning_and_is_found_again(
    store: RedisStore, server: RedisServer, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    store.put("a", b"1")
    server.kill()
    assert [store.get("a") for _ in range(3)] == [None] * 3
    store.put("a", b"2")
    clock.now = 5.0
    assert store.get("a") is None
    assert len(warnings(caplog)) == 1
    assert "secret" not in caplog.text
    server.start()
    assert store.get("a") is None  # it is not asked before the pause is over
    store.put("a", b"3")
    clock.now = 10.0
    store.put("a", b"4")
    assert store.get("a") == b"4"
    assert len(warnings(caplog)) == 2
    assert "answers again" in warnings(caplog)[1]


@pytest.mark.parametrize("patience", [TIMEOUT_S])
def test_a_server_that_hangs_costs_half_a_second_once(
    store: RedisStore, server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    store.put("a", b"1")
    os.kill(server.pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        assert [store.get("a") for _ in range(20)] == [None] * 20
        assert TIMEOUT_S * 0.9 < time.monotonic() - began < TIMEOUT_S * 10
    finally:
        os.kill(server.pid, signal.SIGCONT)
    assert len(warnings(caplog)) == 1


@pytest.mark.parametrize("patience", [1.5])
def test_of_many_requests_one_looks_whether_a_hanging_server_is_back(
    store: RedisStore, server: RedisServer, clock: Clock, patience: float
) -> None:
    def seconds(_: int) -> float:
        began = time.monotonic()
        assert store.get("a") is None
        return time.monotonic() - began

    os.kill(server.pid, signal.SIGSTOP)
    try:
        store.get("a")
        clock.now = 5.0
        with ThreadPoolExecutor(8) as askers:
            waits = sorted(askers.map(seconds, range(8)))
    finally:
        os.kill(server.pid, signal.SIGCONT)
    assert waits[-2] < patience * 0.9 < waits[-1]


def test_a_wrong_password_is_a_warning_without_the_password(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    store = RedisStore(server.url.replace("a-secret", "another-secret"), 1000, LONG)
    assert store.get("a") is None
    store.close()
    assert len(warnings(caplog)) == 1
    assert "another-secret" not in caplog.text


def test_a_name_that_is_none_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    for name in ("a..b", "a" * 70):
        store = RedisStore(f"redis://{name}", 1000, LONG)
        assert store.get("a") is None
        store.close()
    assert len(warnings(caplog)) == 2


def test_something_else_at_the_port_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        store = RedisStore(f"redis://127.0.0.1:{silent.getsockname()[1]}", 1000, LONG)
        assert store.get("a") is None
        store.close()
    assert len(warnings(caplog)) == 1


@pytest.mark.parametrize("reply", [b"$abc\r\n", b"*x\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"?\r\n"])
def test_what_is_no_redis_costs_no_request_and_one_warning(
    reply: bytes, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    class Other(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            while self.request.recv(4096):
                self.request.sendall(reply * 2)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Other) as other:
        other.daemon_threads = True
        threading.Thread(target=other.serve_forever, args=(0.02,)).start()
        store = RedisStore(f"redis://127.0.0.1:{other.server_address[1]}", 1000, LONG, clock=clock)
        for now in (0.0, 1.0, 10.0):
            clock.now = now
            assert store.get("a") is None
            store.put("a", b"1")
        store.close()
        other.shutdown()
    assert len(warnings(caplog)) == 1


def test_without_the_package_the_setting_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(InvalidRequest, match=r'pip install "api-host\[redis\]"'):
        RedisStore("redis://127.0.0.1", 1000, LONG)


def test_the_package_is_not_imported_before_it_is_needed() -> None:
    code = "import sys, api_host.host; print('redis' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == ["False"]


def make_host(folder: Path, url: str) -> ApiHost:
    return ApiHost(
        model="demo", tunnel=False, port=0, models_dir=folder, announce=False, cache=url, cache_max_age=LONG
    )


def ask(host: ApiHost, **more: Any) -> requests.Response:
    body = {"token": host.access_token, **QUESTION, **more}
    return requests.post(f"{host.local_url}/api", json=body, timeout=60)


@pytest.mark.usefixtures("clean_settings")
def test_requests_go_on_when_redis_is_killed_and_use_it_when_it_is_back(
    tmp_path: Path, leaves_nothing: Callable[[], None], caplog: pytest.LogCaptureFixture
) -> None:
    server = RedisServer(tmp_path).start()
    try:
        with make_host(tmp_path, server.url) as host:
            assert [ask(host).headers["X-Cache"] for _ in range(2)] == ["miss", "hit"]
            server.kill()
            for stream in (False, True):
                answered = ask(host, stream=stream)
                assert (answered.status_code, answered.headers["X-Cache"]) == (200, "miss")
                assert "Paris" in answered.text
            assert len(warnings(caplog)) == 1
        server.start()
        with make_host(tmp_path, server.url) as first:
            assert ask(first).headers["X-Cache"] == "miss"
        with make_host(tmp_path, server.url) as second:
            answered = ask(second)
            assert answered.headers["X-Cache"] == "hit"
            assert "Paris" in text_of(answered)
    finally:
        server.kill()


@pytest.mark.usefixtures("clean_settings")
def test_a_host_starts_and_answers_without_its_redis(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = RedisServer(tmp_path)
    with make_host(tmp_path, server.url) as host:
        assert "Paris" in text_of(ask(host))
    assert len(warnings(caplog)) == 1
