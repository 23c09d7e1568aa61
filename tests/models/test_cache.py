"""Models on disk: listed, found, removed; the hub's layout is made by huggingface_hub itself."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from api_host.errors import InvalidRequest, ModelFileNotFound
from api_host.models.cache import ModelCache
from api_host.models.hub.hub import Hub
from api_host.models.reference import parse_reference
from tests.fakes.hub import LoopbackHub

DATA = os.urandom(200_000)
REPO = "owner/name-GGUF"


@pytest.fixture
def loopback() -> Iterator[LoopbackHub]:
    with LoopbackHub() as hub:
        hub.add(REPO, "m.Q4_K_M.gguf", DATA)
        hub.add(REPO, "m.Q8_0.gguf", DATA[::-1])
        hub.add("owner/split", "s-00001-of-00002.gguf", DATA[:50_000])
        hub.add("owner/split", "s-00002-of-00002.gguf", DATA[50_000:])
        yield hub


def filled(loopback: LoopbackHub, folder: Path, *references: str) -> ModelCache:
    hub = Hub(folder, disk_reserve=0, endpoint=loopback.url)
    for reference in references:
        hub.fetch(parse_reference(reference))
    return hub.cache


def names(cache: ModelCache) -> list[str]:
    return [model.name for model in cache.list()]


def test_models_of_the_hub_and_local_ones_are_listed_with_size_and_last_use(
    loopback: LoopbackHub, tmp_path: Path
) -> None:
    cache = filled(loopback, tmp_path, f"{REPO}:Q4_K_M", "owner/split")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.gguf").write_bytes(b"GGUF")
    (tmp_path / "mine" / "mmproj-a.gguf").write_bytes(b"GGUF")
    found = {model.name: model for model in cache.list()}
    assert list(found) == ["mine/a.gguf", f"{REPO}/m.Q4_K_M.gguf", "owner/split/s-00001-of-00002.gguf"]
    assert found["owner/split/s-00001-of-00002.gguf"].size == len(DATA)
    assert found["mine/a.gguf"].path.read_bytes() == b"GGUF"
    assert all(abs(model.last_used - time.time()) < 60 for model in found.values())


def test_a_file_that_no_reference_can_name_is_no_model(loopback: LoopbackHub, tmp_path: Path) -> None:
    cache = filled(loopback, tmp_path, f"{REPO}:Q4_K_M")
    snapshot = cache.files_of(REPO)["m.Q4_K_M.gguf"].parent
    for folder in (tmp_path, snapshot):
        for name in (b"two\nlines.gguf", b"a\x1b[2J.gguf", b"b\xff.gguf", "gr\u00fcn.gguf".encode()):
            (folder / os.fsdecode(name)).write_bytes(b"GGUF")
    (tmp_path / "models--owner--a\x1b[2J" / "snapshots" / "1").mkdir(parents=True)
    (tmp_path / "models--owner--a\x1b[2J" / "snapshots" / "1" / "m.gguf").write_bytes(b"GGUF")
    assert names(cache) == [f"{REPO}/m.Q4_K_M.gguf"]
    assert list(cache.files_of(REPO)) == ["m.Q4_K_M.gguf"] and list(cache.local_files()) == []


def test_a_file_that_goes_while_it_is_listed_is_left_out(
    loopback: LoopbackHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = filled(loopback, tmp_path, f"{REPO}:Q4_K_M", f"{REPO}:Q8_0")
    (tmp_path / "a.gguf").write_bytes(b"GGUF")
    (tmp_path / "b.gguf").write_bytes(b"GGUF")
    entry = cache._entry

    def gone_meanwhile(name: str, parts: list[Path]) -> object:
        if name in ("a.gguf", f"{REPO}/m.Q4_K_M.gguf"):
            parts[0].unlink()
        return entry(name, parts)

    monkeypatch.setattr(cache, "_entry", gone_meanwhile)
    assert names(cache) == ["b.gguf", f"{REPO}/m.Q8_0.gguf"]


def test_a_folder_that_goes_while_it_is_looked_through_has_no_models(
    loopback: LoopbackHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = filled(loopback, tmp_path, f"{REPO}:Q4_K_M")
    (tmp_path / "b.gguf").write_bytes(b"GGUF")
    is_dir = Path.is_dir

    def gone_meanwhile(path: Path) -> bool:
        found = is_dir(path)
        if path.parent.name == "snapshots":
            shutil.rmtree(path.parent, ignore_errors=True)
        return found

    monkeypatch.setattr(Path, "is_dir", gone_meanwhile)
    assert names(cache) == ["b.gguf"]


def test_a_folder_that_is_not_there_is_an_empty_cache(tmp_path: Path) -> None:
    assert ModelCache(tmp_path / "none").list() == []
    assert ModelCache(tmp_path / "none").find(parse_reference(REPO)) is None


def test_every_listed_name_is_a_reference_that_finds_its_file(loopback: LoopbackHub, tmp_path: Path) -> None:
    cache = filled(loopback, tmp_path, f"{REPO}:Q4_K_M", "owner/split")
    (tmp_path / "a.gguf").write_bytes(b"GGUF")
    for model in cache.list():
        assert cache.find(parse_reference(model.name)) == model.path


def test_a_local_file_of_the_same_spelling_is_listed_alone(loopback: LoopbackHub, tmp_path: Path) -> None:
    cache = filled(loopback, tmp_path, f"{REPO}:Q4_K_M", f"{REPO}:Q8_0")
    local = tmp_path / REPO / "m.Q4_K_M.gguf"
    local.parent.mkdir(parents=True)
    local.write_bytes(b"GGUF")
    assert names(cache) == [f"{REPO}/m.Q4_K_M.gguf", f"{REPO}/m.Q8_0.gguf"]
    assert cache.list()[0].path == cache.find(parse_reference(f"{REPO}/m.Q4_K_M.gguf")) == local


def test_removing_one_quantization_frees_its_bytes_and_leaves_the_other(
    loopback: LoopbackHub, tmp_path: Path
) -> None:
    cache = filled(loopback, tmp_path, f"{REPO}:Q4_K_M", f"{REPO}:Q8_0")
    assert cache.remove(parse_reference(f"{REPO}:q4_k_m")) == len(DATA)
    assert names(cache) == [f"{REPO}/m.Q8_0.gguf"]
    assert sum(path.stat().st_size for path in tmp_path.glob("models--*/blobs/*")) == len(DATA)


def test_a_file_is_removed_from_all_revisions_and_a_blob_that_another_name_uses_stays(
    loopback: LoopbackHub, tmp_path: Path
) -> None:
    cache = filled(loopback, tmp_path, f"{REPO}/m.Q4_K_M.gguf")
    loopback.add(REPO, "copy.gguf", DATA)
    filled(loopback, tmp_path, f"{REPO}/copy.gguf")
    assert cache.remove(parse_reference(f"{REPO}/m.Q4_K_M.gguf")) == 0
    assert cache.list()[0].path.read_bytes() == DATA
    assert cache.remove(parse_reference(f"{REPO}/copy.gguf")) >= len(DATA)
    assert not list(tmp_path.glob("models--*"))


def test_all_parts_of_a_split_model_are_removed_with_the_empty_repository(
    loopback: LoopbackHub, tmp_path: Path
) -> None:
    cache = filled(loopback, tmp_path, "owner/split")
    assert cache.remove(parse_reference("owner/split/s-00002-of-00002.gguf")) >= len(DATA)
    assert not (tmp_path / "models--owner--split").exists()


def test_a_download_that_is_not_done_outlives_the_last_whole_file_of_its_repository(
    loopback: LoopbackHub, tmp_path: Path
) -> None:
    cache = filled(loopback, tmp_path, f"{REPO}:Q4_K_M")
    (blobs,) = tmp_path.glob("models--*/blobs")
    begun = blobs / f"{'0' * 64}.12345678.incomplete"
    begun.write_bytes(b"what has come of m.Q8_0.gguf")
    assert cache.remove(parse_reference(f"{REPO}:Q4_K_M")) == len(DATA)
    assert names(cache) == [] and list(blobs.iterdir()) == [begun]
    assert cache.remove(parse_reference(REPO)) >= len(b"what has come of m.Q8_0.gguf")
    assert not blobs.exists()


def test_a_reference_to_main_that_is_no_text_hides_no_models(loopback: LoopbackHub, tmp_path: Path) -> None:
    cache = filled(loopback, tmp_path, f"{REPO}:Q4_K_M")
    (main,) = tmp_path.glob("models--*/refs/main")
    main.write_bytes(b"\xff" * 40)
    assert names(cache) == [f"{REPO}/m.Q4_K_M.gguf"]


def test_a_repository_alone_is_removed_as_a_whole(loopback: LoopbackHub, tmp_path: Path) -> None:
    cache = filled(loopback, tmp_path, f"{REPO}:Q4_K_M", f"{REPO}:Q8_0")
    assert cache.remove(parse_reference(REPO)) >= 2 * len(DATA)
    assert cache.list() == []


def test_a_removed_local_model_takes_its_parts_along(tmp_path: Path) -> None:
    for part in (1, 2):
        (tmp_path / f"m-0000{part}-of-00002.gguf").write_bytes(b"1234")
    (tmp_path / "other.gguf").write_bytes(b"GGUF")
    cache = ModelCache(tmp_path)
    assert cache.remove(parse_reference("m-00001-of-00002.gguf")) == 8
    assert names(cache) == ["other.gguf"]


def test_the_demo_and_what_is_not_there_cannot_be_removed(tmp_path: Path) -> None:
    (tmp_path / "a.gguf").write_bytes(b"GGUF")
    cache = ModelCache(tmp_path)
    with pytest.raises(InvalidRequest, match="demo"):
        cache.remove(parse_reference("demo"))
    for reference in ("b.gguf", REPO, f"{REPO}:Q4_K_M", f"{REPO}/m.gguf"):
        with pytest.raises(ModelFileNotFound) as raised:
            cache.remove(parse_reference(reference))
        assert raised.value.details["available"] == ["a.gguf"]


def test_a_link_out_of_the_models_folder_is_no_model(tmp_path: Path) -> None:
    models, outside = tmp_path / "models", tmp_path / "outside"
    models.mkdir()
    outside.mkdir()
    (outside / "secret.gguf").write_bytes(b"GGUF")
    (models / "file.gguf").symlink_to(outside / "secret.gguf")
    (models / "folder").symlink_to(outside)
    (models / "inside.gguf").write_bytes(b"GGUF")
    (models / "link.gguf").symlink_to("inside.gguf")
    cache = ModelCache(models)
    assert names(cache) == ["inside.gguf", "link.gguf"]
    assert cache.find(parse_reference("file.gguf")) is None
    assert cache.find(parse_reference("folder/secret.gguf")) is None


def test_hidden_folders_and_the_inside_of_the_hub_cache_are_no_local_models(
    loopback: LoopbackHub, tmp_path: Path
) -> None:
    cache = filled(loopback, tmp_path, f"{REPO}:Q4_K_M")
    path = cache.list()[0].path.relative_to(tmp_path).as_posix()
    assert cache.find(parse_reference(path)) is None
    (tmp_path / ".trash").mkdir()
    (tmp_path / ".trash" / "old.gguf").write_bytes(b"GGUF")
    assert names(cache) == [f"{REPO}/m.Q4_K_M.gguf"]
