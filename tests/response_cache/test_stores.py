"""Where answers are kept: the bounds of the memory, and the setting that names the place."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from api_host.config import HostConfig
from api_host.response_cache.memory import ENTRY_BYTES, MemoryStore
from api_host.response_cache.store import open_store


def test_memory_stays_within_its_bytes_and_the_least_recently_used_go_first() -> None:
    entry = 1 + 100 + ENTRY_BYTES
    store = MemoryStore(3 * entry, 100)
    for key in "abc":
        store.put(key, b"x" * 100)
    assert store.get("a") is not None
    store.put("d", b"x" * 100)
    assert [key for key in "abcd" if store.get(key) is not None] == ["a", "c", "d"]
    assert store.n_bytes == 3 * entry
    store.put("e", b"x" * (3 * entry))
    assert store.get("e") is None
    store.put("a", b"")
    assert (store.get("a"), store.n_bytes) == (b"", 3 * entry - 100)
    store.put("f", b"x" * (2 * 100 + ENTRY_BYTES))
    assert store.n_bytes <= 3 * entry
    assert store.get("f") is not None


def test_memory_forgets_what_is_too_old() -> None:
    now = [0.0]
    store = MemoryStore(10_000, 60, clock=lambda: now[0])
    store.put("a", b"1")
    now[0] = 59.9
    assert store.get("a") == b"1"
    now[0] = 60.0
    assert store.get("a") is None
    assert store.n_bytes == 0


@pytest.mark.usefixtures("clean_settings")
def test_the_setting_names_a_place() -> None:
    for nowhere in (None, "off"):
        assert open_store(HostConfig(cache=nowhere)) is None
    assert isinstance(open_store(HostConfig(cache="memory")), MemoryStore)
    for url in (
        "redis://localhost",
        "redis://localhost:6379/0",
        "redis://user:p%40ss@cache.internal:6380/3",
        "redis://:secret@[::1]:6379",
        "rediss://name",
    ):
        assert HostConfig(cache=url).cache == url


@pytest.mark.usefixtures("clean_settings")
@pytest.mark.parametrize(
    "cache",
    [
        "disk",
        "",
        "http://name",
        "redis://",
        "redis://:secret@",
        "redis://name:0",
        "redis://:secret@name:99999",
        "redis://name?db=1",
        "redis://na me",
        "redis://a..b:x/",
    ],
)
def test_a_wrong_setting_is_refused_without_its_password(cache: str) -> None:
    with pytest.raises(ValidationError) as refused:
        HostConfig(cache=cache)
    assert "cache" in str(refused.value)
    assert "secret" not in str(refused.value)


@pytest.mark.usefixtures("clean_settings")
def test_the_settings_do_not_show_the_password_when_they_are_printed() -> None:
    assert "secret" not in repr(HostConfig(cache="redis://:secret@name"))
