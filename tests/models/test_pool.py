"""The pool's rules, on workers without processes and a source without a hub: who gets a model, and when it goes."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from api_host.errors import (
    Cancelled,
    HostStopping,
    ModelBusy,
    ModelFileNotFound,
    ModelLoadFailed,
    OutOfMemory,
    QueueFull,
)
from api_host.models.reference import parse_reference
from tests.fakes.pool_ground import NEED, SOON, Ground, eventually

A, B = "o/a/a.gguf", "o/b/b.gguf"


def test_however_many_ask_a_model_is_fetched_and_loaded_once(pool_ground: Ground) -> None:
    pool_ground.source.gate.clear()
    claims = [pool_ground.claim(A) for _ in range(20)]
    half_way = {"file": A, "bytes_done": 500, "bytes_total": 1000}
    eventually(lambda: claims[0].waiting().progress == half_way)
    assert pool_ground.status(A) == "downloading"
    assert not claims[0].wait(0.05)
    pool_ground.source.gate.set()
    assert all(claim.wait(SOON) for claim in claims)
    assert pool_ground.source.fetched == [A]
    assert len(pool_ground.workers.loads) == 1
    assert len({id(claim.loaded) for claim in claims}) == 1
    assert pool_ground.downloaded == 500
    eventually(lambda: pool_ground.loaded == [A])


def test_a_model_on_the_disk_is_loaded_without_a_fetch(pool_ground: Ground) -> None:
    pool_ground.use(A)
    pool_ground.pool.unload(A)
    pool_ground.use(A)
    assert pool_ground.source.fetched == [A]
    assert len(pool_ground.workers.loads) == 2


def test_a_waiter_that_gives_up_wakes_at_once_and_the_load_goes_on(pool_ground: Ground) -> None:
    pool_ground.workers.gate.clear()
    claim = pool_ground.claim(A)
    threading.Timer(0.05, claim.cancel).start()
    began = time.monotonic()
    with pytest.raises(Cancelled):
        claim.wait(SOON)
    assert time.monotonic() - began < SOON / 2
    claim.release()
    pool_ground.workers.gate.set()
    eventually(lambda: pool_ground.status(A) == "loaded")
    pool_ground.pool.unload(A)  # it is idle: nobody holds it


def test_a_claim_released_before_its_model_came_holds_nothing(pool_ground: Ground) -> None:
    pool_ground.workers.gate.clear()
    claim = pool_ground.claim(A)
    claim.release()
    claim.release()
    pool_ground.workers.gate.set()
    eventually(lambda: pool_ground.status(A) == "loaded")
    pool_ground.pool.unload(A)
    assert pool_ground.status(A) == "unloaded"


def test_a_worker_that_died_is_replaced_at_the_next_request(pool_ground: Ground) -> None:
    old = pool_ground.hold(A)
    pool_ground.workers.started[0].die()
    assert pool_ground.status(A) == "unloaded"
    new = pool_ground.hold(A)
    assert new.loaded is not old.loaded
    old.release()
    with pytest.raises(ModelBusy):
        pool_ground.pool.unload(A)  # the late release of the dead one's lease does not count for the new one
    new.release()


def test_a_worker_that_died_unnoticed_is_not_handed_out(pool_ground: Ground) -> None:
    pool_ground.use(A)
    pool_ground.workers.started[0].alive = False
    assert pool_ground.hold(A).loaded.worker is pool_ground.workers.started[1]


def test_no_worker_is_left_behind_when_the_file_goes_while_it_loads(pool_ground: Ground) -> None:
    pool_ground.workers.shape = lambda info: (pool_ground.source.folder / "o_a_a.gguf").unlink()
    with pytest.raises(ModelLoadFailed, match="cannot be read"):
        pool_ground.claim(A).wait(SOON)
    assert pool_ground.workers.started[0].stopped.is_set()


def test_a_shorter_context_and_the_same_device_take_the_model_as_it_is(pool_ground: Ground) -> None:
    pool_ground.use(A, ctx_length=2048)
    pool_ground.use(A)
    pool_ground.use(A, ctx_length=512, use_gpu=True)
    pool_ground.use(A, use_gpu=False)  # it is on the CPU anyway
    assert [load.n_ctx for load in pool_ground.workers.loads] == [2048]


def test_a_longer_context_loads_anew_in_its_turn_and_nobody_overtakes_it(pool_ground: Ground) -> None:
    running = pool_ground.hold(A)
    longer = pool_ground.claim(A, ctx_length=8192)
    later = pool_ground.claim(A)
    assert not later.wait(0.05)
    assert not longer.wait(0)
    running.release()
    assert longer.wait(SOON) and later.wait(SOON)
    assert later.loaded is longer.loaded
    assert [load.n_ctx for load in pool_ground.workers.loads] == [4096, 8192]
    assert pool_ground.workers.started[0].stopped.is_set()


def test_a_context_that_the_worker_could_not_give_is_not_asked_for_twice(pool_ground: Ground) -> None:
    def trained_for_512(info: Any) -> None:
        info.n_ctx = min(512, info.n_ctx)

    pool_ground.workers.shape = trained_for_512
    for _ in range(3):
        pool_ground.use(A, ctx_length=8192)
    assert len(pool_ground.workers.loads) == 1


def test_a_context_that_could_never_fit_leaves_the_loaded_model_alone(pool_ground: Ground) -> None:
    pool_ground.make(memory_budget=2 * NEED)
    pool_ground.use(A)
    pool_ground.source._path(parse_reference(A)).write_bytes(bytes(9000))
    with pytest.raises(OutOfMemory):
        pool_ground.claim(A, ctx_length=8192).wait(SOON)
    assert pool_ground.status(A) == "loaded"
    assert not pool_ground.workers.started[0].stopped.is_set()
    pool_ground.use(A)


def test_unloading_ends_an_idle_model_and_refuses_a_busy_or_unknown_one(pool_ground: Ground) -> None:
    lease = pool_ground.hold(A)
    with pytest.raises(ModelBusy):
        pool_ground.pool.unload(A)
    lease.release()
    pool_ground.pool.unload(A)
    assert pool_ground.workers.started[0].stopped.is_set()
    with pytest.raises(ModelFileNotFound):
        pool_ground.pool.unload(B)


def test_unloading_ends_a_download_and_a_load_that_nobody_waits_for(pool_ground: Ground) -> None:
    pool_ground.source.gate.clear()
    pool_ground.claim(A).release()
    pool_ground.pool.unload(A)
    assert pool_ground.status(A) == "unloaded"
    pool_ground.source.gate.set()
    pool_ground.workers.gate.clear()
    pool_ground.claim(A).release()
    eventually(lambda: pool_ground.status(A) == "loading" and len(pool_ground.workers.loads) == 1)
    pool_ground.pool.unload(A)
    assert pool_ground.status(A) == "unloaded"
    assert pool_ground.workers.started == []


def test_the_waiting_requests_of_a_model_are_bounded(pool_ground: Ground) -> None:
    pool_ground.make(queue_limit=2)
    pool_ground.source.gate.clear()
    claims = [pool_ground.claim(A), pool_ground.claim(A)]
    with pytest.raises(QueueFull) as refusal:
        pool_ground.claim(A)
    assert refusal.value.details["limit"] == 2
    claims[0].release()
    pool_ground.claim(A)


def test_two_names_of_one_file_are_one_model(pool_ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    pool_ground.use(A)
    monkeypatch.setattr(
        pool_ground.source, "locate", lambda ref: pool_ground.source._path(parse_reference(A))
    )
    lease = pool_ground.hold("o/a:Q4_K_M")
    assert lease.loaded.worker is pool_ground.workers.started[0]
    assert (pool_ground.status(A), pool_ground.status("o/a:Q4_K_M")) == ("loaded", "loaded")
    assert list(pool_ground.pool.engine_stats()) == [A]
    with pytest.raises(ModelBusy):
        pool_ground.pool.unload(A)
    lease.release()
    pool_ground.pool.unload("o/a:Q4_K_M")
    assert pool_ground.status(A) == "unloaded"
    pool_ground.use("o/a:Q4_K_M")
    assert len(pool_ground.workers.loads) == 2


def test_a_model_has_one_size_however_often_it_is_loaded(pool_ground: Ground) -> None:
    pool_ground.source.size = 1234
    pool_ground.use(A)
    (entry,) = pool_ground.pool.entries()
    assert (entry["status"], entry["size"]) == ("loaded", 1234)
    pool_ground.pool.unload(A)
    assert pool_ground.pool.entries()[0]["size"] == 1234


def test_a_model_that_was_not_fetched_to_the_end_has_no_size(pool_ground: Ground) -> None:
    pool_ground.source.gate.clear()
    pool_ground.claim(A).release()
    eventually(lambda: pool_ground.pool.entries()[0]["size"] == 1000)
    pool_ground.pool.unload(A)
    (entry,) = pool_ground.pool.entries()
    assert (entry["status"], entry["size"]) == ("unloaded", None)


def test_a_second_name_is_looked_up_anew_once_the_model_has_gone(
    pool_ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {name: pool_ground.source._path(parse_reference(name)) for name in (A, B)}
    pool_ground.use(A)
    pool_ground.use(B)
    files["now.gguf"] = files[A]
    monkeypatch.setattr(pool_ground.source, "locate", lambda ref: files[ref.name])
    pool_ground.use("now.gguf")
    pool_ground.pool.unload("now.gguf")
    files["now.gguf"] = files[B]
    lease = pool_ground.hold("now.gguf")
    assert lease.loaded.worker is pool_ground.workers.started[1]
    assert pool_ground.status(A) == "unloaded"


def test_names_of_models_that_never_came_do_not_pile_up(
    pool_ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api_host.models.pool.residents.MOST_NAMES", 3)
    pool_ground.use(A)
    for number in range(10):
        pool_ground.source.failures = [ModelFileNotFound("no such file")]
        with pytest.raises(ModelFileNotFound):
            pool_ground.claim(f"o/x/{number}.gguf").wait(SOON)
    names = [entry["name"] for entry in pool_ground.pool.entries()]
    assert len(names) <= 4
    assert {A, "o/x/9.gguf"} <= set(names)


def test_a_model_whose_first_name_was_forgotten_is_ended_under_its_other_one(
    pool_ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api_host.models.pool.residents.MOST_NAMES", 3)
    path = pool_ground.source._path(parse_reference(A))
    pool_ground.use(A)
    monkeypatch.setattr(pool_ground.source, "locate", lambda ref: path if ref.repo_id == "o/a" else None)
    pool_ground.use("o/a:Q4_K_M")
    pool_ground.pool.unload(A)
    for number in range(3):
        pool_ground.source.failures = [ModelFileNotFound("no such file")]
        with pytest.raises(ModelFileNotFound):
            pool_ground.claim(f"o/x/{number}.gguf").wait(SOON)
    assert A not in [entry["name"] for entry in pool_ground.pool.entries()]
    for _ in range(2):
        pool_ground.use("o/a:Q4_K_M")
        pool_ground.pool.unload("o/a:Q4_K_M")
    pool_ground.use("o/a:Q4_K_M")
    pool_ground.pool.stop()
    assert [worker.alive for worker in pool_ground.workers.started] == [False] * 4


def test_stop_ends_loads_and_workers_and_wakes_the_waiting(pool_ground: Ground) -> None:
    pool_ground.use(A)
    pool_ground.source.gate.clear()
    claim = pool_ground.claim(B)
    pool_ground.pool.stop()
    pool_ground.pool.stop()
    with pytest.raises(HostStopping):
        claim.wait(SOON)
    with pytest.raises(HostStopping):
        pool_ground.claim(A)
    assert pool_ground.workers.started[0].stopped.is_set()
