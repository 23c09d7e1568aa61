"""A draft model in the pool: fetched with the model that it guesses for, counted with it, and with no other."""

from __future__ import annotations

import pytest

from api_host.errors import HubUnreachable, InvalidRequest, OutOfMemory
from api_host.models.reference import parse_reference
from tests.fakes.pool_ground import NEED, SOON, Ground, eventually

MODEL, OTHER, DRAFT = "o/a/a.gguf", "o/b/b.gguf", "o/small/s.gguf"


def test_only_the_hosts_own_model_is_loaded_with_its_draft(pool_ground: Ground) -> None:
    pool_ground.make(model=MODEL, draft_model=DRAFT, draft_max=3)
    pool_ground.use(OTHER)
    pool_ground.use(MODEL)
    assert pool_ground.source.fetched == [OTHER, MODEL, DRAFT]
    other, own = pool_ground.workers.loads
    assert other.draft_model is None
    assert own.draft_model is not None and own.draft_model.endswith("o_small_s.gguf")
    assert (own.path.endswith("o_a_a.gguf"), own.draft_max) == (True, 3)
    # Both downloads count, each from the half that its fake found on the disk.
    assert pool_ground.downloaded == 3 * 500


def test_a_draft_that_is_on_the_disk_is_not_fetched(pool_ground: Ground) -> None:
    pool_ground.make(model=MODEL, draft_model=DRAFT)
    pool_ground.use(DRAFT)
    pool_ground.use(MODEL)
    assert pool_ground.source.fetched == [DRAFT, MODEL]


def test_the_draft_comes_along_whichever_of_its_names_the_model_had_first(
    pool_ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool_ground.make(model="o/a", draft_model=DRAFT)
    pool_ground.use(DRAFT)
    files = {"o/a": MODEL, MODEL: MODEL, DRAFT: DRAFT}
    pool_ground.source._path(parse_reference(MODEL)).write_bytes(bytes(1000))
    monkeypatch.setattr(
        pool_ground.source, "locate", lambda ref: pool_ground.source._path(parse_reference(files[ref.name]))
    )
    pool_ground.use(MODEL)
    pool_ground.use("o/a")
    pool_ground.pool.unload("o/a")
    pool_ground.use("o/a")
    assert [load.draft_model is not None for load in pool_ground.workers.loads] == [False, False, True]


def test_while_the_draft_comes_its_progress_is_shown_and_its_failure_is_the_models(
    pool_ground: Ground,
) -> None:
    pool_ground.make(model=MODEL, draft_model=DRAFT)
    pool_ground.source._path(parse_reference(MODEL)).write_bytes(bytes(1000))
    pool_ground.source.gate.clear()
    pool_ground.source.failures = [HubUnreachable("no network")]
    claim = pool_ground.claim(MODEL)
    eventually(lambda: pool_ground.status(MODEL) == "downloading")
    eventually(lambda: claim.waiting().progress == {"file": DRAFT, "bytes_done": 500, "bytes_total": 1000})
    pool_ground.source.gate.set()
    with pytest.raises(HubUnreachable):
        claim.wait(SOON)
    pool_ground.use(MODEL)
    assert len(pool_ground.workers.loads) == 1


def test_the_memory_of_both_is_counted(pool_ground: Ground) -> None:
    pool_ground.make(model=MODEL, draft_model=DRAFT, memory_budget=3 * NEED - 1)
    pool_ground.use(MODEL)
    pool_ground.use(OTHER)
    assert (pool_ground.status(MODEL), pool_ground.status(OTHER)) == ("unloaded", "loaded")
    pool_ground.use(MODEL)
    assert (pool_ground.status(MODEL), pool_ground.status(OTHER)) == ("loaded", "unloaded")
    pool_ground.make(model=MODEL, draft_model=DRAFT, memory_budget=3 * NEED)
    pool_ground.use(MODEL)
    pool_ground.use(OTHER)
    assert (pool_ground.status(MODEL), pool_ground.status(OTHER)) == ("loaded", "loaded")
    pool_ground.pool.stop()
    pool_ground.make(model=MODEL, draft_model=DRAFT, memory_budget=NEED)
    with pytest.raises(OutOfMemory) as refusal:
        pool_ground.claim(MODEL).wait(SOON)
    assert refusal.value.details["needed"] == 2 * NEED


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"model": MODEL, "draft_model": "../etc/passwd"}, "draft_model: '../etc/passwd' is not the name"),
        ({"draft_model": DRAFT}, "draft_model: .* set model as well"),
    ],
)
def test_a_draft_that_is_none_is_refused_at_once(
    pool_ground: Ground, settings: dict[str, str], says: str
) -> None:
    with pytest.raises(InvalidRequest, match=says):
        pool_ground.make(**settings)
