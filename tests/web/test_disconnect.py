"""A client that goes cancels what is made for it, streaming or not; one that stays does not."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from api_host.generation import Accepted, Waiting
from api_host.web.disconnect import DisconnectWatch
from tests.fakes.pipeline import FakePipeline, answer
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
    assert generation.ended.wait(0.5)


def test_a_client_that_resets_cancels_its_generation(site: Site, pipeline: FakePipeline) -> None:
    pipeline.script = lambda request: [60.0]
    sock = site.raw({"inputs": "Hi"})
    assert until(lambda: bool(pipeline.generations))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    sock.close()
    assert pipeline.generations[0].ended.wait(0.5)


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


def test_an_ended_watch_stays_silent(watch: DisconnectWatch) -> None:
    ours, theirs = socket.socketpair()
    gone = threading.Event()
    entry = watch.watch(ours, gone.set)
    entry.end()
    entry.end()
    theirs.close()
    assert not gone.wait(0.1)
    ours.close()


def test_one_callback_that_fails_does_not_stop_the_others(watch: DisconnectWatch) -> None:
    pairs = [socket.socketpair() for _ in range(2)]
    gone = threading.Event()
    watch.watch(pairs[0][0], lambda: 1 / 0)  # type: ignore[arg-type,return-value]
    watch.watch(pairs[1][0], gone.set)
    for _, theirs in pairs:
        theirs.close()
        time.sleep(0.02)
    assert gone.wait(1)
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
