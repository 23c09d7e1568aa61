"""What the pool does when memory is short, or a model failed; on workers without processes."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from api_host.engine.messages import ModelInfo
from api_host.errors import HubRateLimited, HubUnreachable, ModelBusy, ModelLoadFailed, OutOfMemory
from api_host.models.demo import DEMO_MODEL_PATH
from api_host.models.pool.memory import estimate_need
from api_host.models.reference import parse_reference
from tests.fakes.pool_ground import NEED, SOON, Ground, eventually

A, B, C = "o/a/a.gguf", "o/b/b.gguf", "o/c/c.gguf"


def test_the_least_recently_used_idle_model_makes_room(pool_ground: Ground) -> None:
    pool_ground.make(memory_budget=2 * NEED)
    pool_ground.use(A)
    pool_ground.use(B)
    pool_ground.use(A)
    pool_ground.use(C)
    assert (pool_ground.status(A), pool_ground.status(B), pool_ground.status(C)) == (
        "loaded",
        "unloaded",
        "loaded",
    )
    assert pool_ground.workers.started[1].stopped.is_set()


def test_a_busy_model_is_never_ended(pool_ground: Ground) -> None:
    pool_ground.make(memory_budget=2 * NEED)
    busy = pool_ground.hold(A)
    pool_ground.use(B)
    pool_ground.use(C)
    assert (pool_ground.status(A), pool_ground.status(B)) == ("loaded", "unloaded")
    assert not pool_ground.workers.started[0].stopped.is_set()
    busy.release()


def test_a_model_waits_until_a_busy_one_is_idle(pool_ground: Ground) -> None:
    pool_ground.make(memory_budget=NEED)
    busy = pool_ground.hold(A)
    claim = pool_ground.claim(B)
    assert not claim.wait(0.1)
    assert pool_ground.status(A) == "loaded"
    busy.release()
    assert claim.wait(SOON)
    assert pool_ground.status(A) == "unloaded"


def test_a_wait_for_room_ends_in_model_busy(pool_ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api_host.models.pool.residents.ROOM_WAIT_S", 0.05)
    pool_ground.make(memory_budget=NEED)
    busy = pool_ground.hold(A)
    with pytest.raises(ModelBusy, match="no room"):
        pool_ground.claim(B).wait(SOON)
    busy.release()
    pool_ground.use(B)


def test_what_a_model_on_its_way_has_taken_already_is_not_missing_for_the_next(
    pool_ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    free, taken = 1500, 600
    monkeypatch.setattr("api_host.models.pool.memory._HOST_RESERVE", 0)
    monkeypatch.setattr("api_host.models.pool.memory._private_bytes", lambda pid: taken if pid else 0)
    monkeypatch.setattr("api_host.models.pool.memory.free_memory", lambda: free)
    pool_ground.make(memory_budget="auto")
    pool_ground.workers.gate.clear()
    first = pool_ground.claim(A)
    eventually(lambda: len(pool_ground.workers.loads) == 1)
    free -= taken
    second = pool_ground.claim(B)
    assert not second.wait(0.2)
    pool_ground.workers.gate.set()
    assert first.wait(SOON)
    first.release()
    assert second.wait(SOON)
    assert (pool_ground.status(A), pool_ground.status(B)) == ("unloaded", "loaded")


@pytest.mark.parametrize("was_there", [True, False])
def test_a_gpu_that_had_no_room_once_still_gets_the_next_model(
    pool_ground: Ground, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, was_there: bool
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 0, GPU-aa-1, 900\n")  # no more than a worker keeps free
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    pool_ground.make(memory_budget="auto")

    def layers(n: int) -> None:
        pool_ground.workers.shape = lambda info: setattr(info, "n_gpu_layers", n)

    layers(1 if was_there else 0)
    busy = pool_ground.hold(A)
    layers(1 - was_there)
    pool_ground.use(B)
    busy.release()
    layers(1)
    pool_ground.use(C)
    assert [pool_ground.status(name) for name in (A, B, C)] == (
        ["unloaded", "loaded", "loaded"] if was_there else ["loaded", "unloaded", "loaded"]
    )


def test_a_model_that_can_never_fit_is_refused_with_the_figures_and_ends_none(pool_ground: Ground) -> None:
    pool_ground.make(memory_budget=2 * NEED)
    pool_ground.use(A)
    pool_ground.source.size = 5000
    with pytest.raises(OutOfMemory) as refusal:
        pool_ground.claim(B).wait(SOON)
    assert refusal.value.details == {"needed": 5500, "free": 2 * NEED}
    assert pool_ground.status(A) == "loaded"


@pytest.mark.parametrize("parallel", ["auto", 6])
def test_a_worker_on_a_gpu_takes_no_more_than_a_budget_has_counted(
    pool_ground: Ground, parallel: int | str
) -> None:
    pool_ground.make(memory_budget=10**9, parallel=parallel, ctx_length=2048)
    pool_ground.source._path(parse_reference(A)).write_bytes(DEMO_MODEL_PATH.read_bytes())

    def on_gpu(info: ModelInfo) -> None:
        load = pool_ground.workers.loads[-1]
        info.n_gpu_layers, info.n_slots = 5, load.n_slots or min(8, load.most_slots or 8)

    pool_ground.workers.shape = on_gpu
    counted = estimate_need(DEMO_MODEL_PATH, 2048, None if parallel == "auto" else 6).wanted
    assert pool_ground.hold(A).loaded.need == counted


def test_a_worker_without_memory_gets_that_of_the_idle_models_and_one_more_try(pool_ground: Ground) -> None:
    pool_ground.use(A)
    pool_ground.workers.failures = [OutOfMemory("too little", needed=2, free=1)]
    pool_ground.use(B)
    assert (pool_ground.status(A), pool_ground.status(B)) == ("unloaded", "loaded")
    pool_ground.workers.failures = [OutOfMemory("too little", needed=2, free=1)] * 2
    with pytest.raises(OutOfMemory, match="too little"):
        pool_ground.claim(C).wait(SOON)


def test_a_model_that_failed_to_load_is_left_alone_for_a_time_that_doubles(
    pool_ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr("api_host.models.pool.cooldown.time", SimpleNamespace(monotonic=lambda: now))
    pool_ground.make(load_cooldown=0.2)
    pool_ground.workers.failures = [ModelLoadFailed("bad magic") for _ in range(2)]
    pauses = []
    for _ in range(2):
        with pytest.raises(ModelLoadFailed, match=r"^bad magic"):
            pool_ground.claim(A).wait(SOON)
        assert pool_ground.status(A) == "failed"
        with pytest.raises(ModelLoadFailed, match="bad magic") as refusal:
            pool_ground.claim(A)
        assert refusal.value.retry_after is not None
        pauses.append(refusal.value.retry_after)
        now += refusal.value.retry_after
    assert pauses == pytest.approx([0.2, 0.4])
    pool_ground.use(A)
    assert pool_ground.status(A) == "loaded"


def test_an_explicit_unload_ends_the_pause(pool_ground: Ground) -> None:
    pool_ground.workers.failures = [ModelLoadFailed("bad magic")]
    with pytest.raises(ModelLoadFailed):
        pool_ground.claim(A).wait(SOON)
    pool_ground.pool.unload(A)
    assert pool_ground.status(A) == "unloaded"
    pool_ground.use(A)


def test_too_long_a_context_does_not_lock_out_requests_for_a_shorter_one(pool_ground: Ground) -> None:
    pool_ground.use(A)
    pool_ground.workers.failures = [OutOfMemory("KV cache", needed=2, free=1)]
    with pytest.raises(OutOfMemory):
        pool_ground.claim(A, ctx_length=100_000).wait(SOON)
    with pytest.raises(OutOfMemory, match="left alone"):
        pool_ground.claim(A, ctx_length=100_000)
    pool_ground.use(A)


def test_a_download_that_failed_is_tried_again_at_once(pool_ground: Ground) -> None:
    pool_ground.source.failures = [HubUnreachable("no network")]
    pool_ground.source.gate.clear()
    claims = [pool_ground.claim(A), pool_ground.claim(A)]
    pool_ground.source.gate.set()
    for claim in claims:
        with pytest.raises(HubUnreachable):
            claim.wait(SOON)
    pool_ground.use(A)


def test_the_hubs_own_pause_is_kept(pool_ground: Ground) -> None:
    pool_ground.source.failures = [HubRateLimited("slow down", retry_after=30)]
    with pytest.raises(HubRateLimited):
        pool_ground.claim(A).wait(SOON)
    with pytest.raises(HubRateLimited) as refusal:
        pool_ground.claim(A)
    assert refusal.value.retry_after is not None and 29 < refusal.value.retry_after <= 30
