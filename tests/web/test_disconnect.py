"""A client that goes cancels what is made for it, streaming or not; one that stays does not."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from api_host.config import HostConfig
from api_host.engine.messages import Load
from api_host.engine.process import Worker
from api_host.generation import Accepted, Waiting
from api_host.models.demo import DEMO_MODEL_PATH
from api_host.models.pool.pool import ModelPool
from api_host.pipeline import Pipeline
from api_host.web import disconnect
from api_host.web.disconnect import DisconnectWatch
from tests.fakes.house import A, B
from tests.fakes.pipeline import FakePipeline, answer
from tests.fakes.worker import FakeSource
from tests.web.site import ENDLESS, Site, read_all, until


@pytest.mark.parametrize(
    ("stream", "script"),
    [
        (True, ENDLESS),
        (False, ENDLESS),
        (True, [Accepted("demo", 1), 60.0]),
        (False, [Waiting("downloading"), 60.0]),
        (True, [Waiting("downloading"), 60.0]),
        (False, [60.0]),
    ],
)
def test_a_client_that_goes_cancels_its_generation(
    site: Site, pipeline: FakePipeline, stream: bool, script: list[Any]
) -> None:
    pipeline.script = lambda request: script
    sock = site.raw({"inputs": "Hi", "stream": stream})
    assert until(lambda: bool(pipeline.generations))
    time.sleep(0.05)
    generation = pipeline.generations[0]
    assert not generation.cancelled.is_set()
    sock.close()
    assert generation.ended.wait(10)


def test_a_client_that_resets_cancels_its_generation(site: Site, pipeline: FakePipeline) -> None:
    pipeline.script = lambda request: [60.0]
    sock = site.raw({"inputs": "Hi"})
    assert until(lambda: bool(pipeline.generations))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    sock.close()
    assert pipeline.generations[0].ended.wait(10)


def test_a_client_that_stays_is_not_taken_for_gone(site: Site, pipeline: FakePipeline) -> None:
    pipeline.script = lambda request: [Accepted("demo", 1), 0.3, *answer("a")]
    sock = site.raw({"inputs": "Hi"}, head="Connection: close")
    sock.sendall(b"GET /health HTTP/1.1\r\n\r\n")  # pipelined bytes are no farewell
    assert b"200 OK" in read_all(sock)
    assert not pipeline.generations[0].cancelled.is_set()


@pytest.fixture
def watch() -> Iterator[DisconnectWatch]:
    watch = DisconnectWatch()
    watch.start()
    yield watch
    watch.stop()


@pytest.mark.parametrize("registered", [False, True])
def test_an_ended_watch_stays_silent(watch: DisconnectWatch, registered: bool) -> None:
    ours, theirs = socket.socketpair()
    gone = threading.Event()
    entry = watch.watch(ours, gone.set)
    assert not registered or until(lambda: entry.registered)
    entry.end()
    entry.end()
    theirs.close()
    assert not gone.wait(0.1)
    ours.close()


def test_a_request_that_is_soon_over_is_never_registered(
    watch: DisconnectWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disconnect, "GATHER_S", 0.5)
    taken_in = threading.Event()
    registered: list[Any] = []
    monkeypatch.setattr(watch, "_register", lambda entry: (registered.append(entry), taken_in.set()))
    pairs = [socket.socketpair() for _ in range(3)]
    entries = [watch.watch(ours, lambda: None) for ours, _ in pairs]
    entries[0].end()
    entries[1].end()
    assert taken_in.wait(10)
    assert registered == [entries[2]]
    for sock in [end for pair in pairs for end in pair]:
        sock.close()


def test_many_requests_in_a_row_wake_the_watching_once(
    watch: DisconnectWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disconnect, "GATHER_S", 0.5)
    wakes: list[bytes] = []

    class Wake:
        def send(self, data: bytes) -> None:
            wakes.append(data)
            wake.send(data)

        def close(self) -> None:
            wake.close()

    wake = watch._wake
    monkeypatch.setattr(watch, "_wake", Wake())
    ours, theirs = socket.socketpair()
    for _ in range(100):
        watch.watch(ours, lambda: None).end()
    assert len(wakes) <= 2  # two where the hundred took longer than a window
    gone = threading.Event()
    watch.watch(ours, gone.set)
    theirs.close()
    assert gone.wait(10)
    ours.close()


def test_a_watch_that_ends_early_leaves_nothing_behind(watch: DisconnectWatch) -> None:
    class Request:
        def cancel(self) -> None: ...

    ours, theirs = socket.socketpair()
    request = Request()
    left = weakref.ref(request)
    watch.watch(ours, request.cancel).end()
    del request
    assert left() is None
    ours.close()
    theirs.close()


def test_a_farewell_before_the_watching_begins_is_noticed(watch: DisconnectWatch) -> None:
    ours, theirs = socket.socketpair()
    theirs.close()
    gone = threading.Event()
    watch.watch(ours, gone.set)
    assert gone.wait(10)
    ours.close()


def test_a_forgotten_watch_gives_way_to_the_next_on_its_socket(watch: DisconnectWatch) -> None:
    ours, theirs = socket.socketpair()
    first, second = threading.Event(), threading.Event()
    forgotten = watch.watch(ours, first.set)
    assert until(lambda: forgotten.registered)
    current = watch.watch(ours, second.set)
    assert until(lambda: current.registered)
    forgotten.end()
    theirs.close()
    assert second.wait(10)
    assert not first.is_set()
    ours.close()


def test_one_callback_that_fails_does_not_stop_the_others(watch: DisconnectWatch) -> None:
    pairs = [socket.socketpair() for _ in range(2)]
    gone = threading.Event()
    watch.watch(pairs[0][0], lambda: 1 / 0)  # type: ignore[arg-type,return-value]
    watch.watch(pairs[1][0], gone.set)
    for _, theirs in pairs:
        theirs.close()
        time.sleep(0.02)
    assert gone.wait(10)
    for ours, _ in pairs:
        ours.close()


@pytest.mark.parametrize("farewell", [False, True])
def test_watching_burns_no_processor_time(watch: DisconnectWatch, farewell: bool) -> None:
    ours, theirs = socket.socketpair()
    watch.watch(ours, lambda: None)
    if farewell:
        theirs.close()
    else:
        theirs.send(b"pipelined")
    before = time.process_time()
    time.sleep(0.25)
    assert time.process_time() - before < 0.1
    ours.close()
    theirs.close()


def test_a_worker_that_hangs_holds_up_its_own_requests_alone(tmp_path: Path) -> None:
    for name in (A, B):
        shutil.copy(DEMO_MODEL_PATH, tmp_path / name.replace("/", "_"))
    workers: list[Worker] = []

    def start(load: Load, **told: Any) -> Worker:
        workers.append(Worker.start(msgspec.structs.replace(load, n_threads=1), **told))
        return workers[-1]

    pool = ModelPool(HostConfig.from_arguments(ctx_length=1024), FakeSource(tmp_path), start)
    site = Site(Pipeline(pool, A))  # type: ignore[arg-type]
    few, many = {"max_tokens": 1}, {"max_tokens": 900, "min_tokens": 900}
    try:
        for name in (A, B):
            assert site.post({"inputs": "Hi", "model": name, "parameters": few}).status_code == 200
        leaving = site.raw({"inputs": "Hi", "model": A, "stream": True, "parameters": many})
        assert leaving.recv(1)
        os.kill(workers[0].pid, signal.SIGSTOP)
        # More than the worker's socket takes: whoever sends to it next has to wait.
        staying = site.raw({"inputs": "x" * 5_000_000, "model": A})
        assert until(workers[0]._sending.locked)
        leaving.close()
        time.sleep(0.3)
        assert site.post({"inputs": "Hi", "model": B, "parameters": few}).status_code == 200
        staying.close()
    finally:
        os.kill(workers[0].pid, signal.SIGCONT)
        site.close()
        pool.stop()
