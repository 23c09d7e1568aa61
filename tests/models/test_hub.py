"""Finding and fetching models: a real huggingface_hub in a real child against the loopback hub."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
import requests

from api_host.errors import Cancelled, ModelFileNotFound
from api_host.models.demo import DEMO_MODEL_PATH
from api_host.models.hub.hub import Hub, Progress
from api_host.models.reference import parse_reference, reference_from_parts
from tests.fakes.hub import LoopbackHub
from tests.fakes.processes import running

DATA = os.urandom(1_500_000)
REPO = "owner/name-GGUF"
FILE = f"{REPO}/m.Q4_K_M.gguf"
ROOT = Path(__file__).parents[2]


@pytest.fixture
def loopback() -> Iterator[LoopbackHub]:
    with LoopbackHub() as hub:
        hub.add(REPO, "m.Q4_K_M.gguf", DATA)
        yield hub
    assert not [one for one in threading.enumerate() if one.name in ("model-download", "download")]
    assert not download_children()


@pytest.fixture
def hub(loopback: LoopbackHub, tmp_path: Path) -> Hub:
    return Hub(tmp_path / "models", stall_timeout=20.0, disk_reserve=0, endpoint=loopback.url)


def download_children() -> list[psutil.Process]:
    return running("api_host.models.hub.download")


def test_of_a_local_file_in_parts_the_one_that_is_missing_is_named(hub: Hub) -> None:
    assert hub.cache.models_dir is not None
    hub.cache.models_dir.mkdir()
    for part in (1, 3):
        (hub.cache.models_dir / f"big-0000{part}-of-00003.gguf").write_bytes(DATA)
    with pytest.raises(ModelFileNotFound, match=r"has 3 parts, and big-00002-of-00003\.gguf is not below"):
        hub.fetch(parse_reference("big-00001-of-00003.gguf"), lambda progress: None)
    with pytest.raises(
        ModelFileNotFound, match=r"other-00001-of-00003\.gguf is not below the host's models_dir; see"
    ):
        hub.fetch(parse_reference("other-00001-of-00003.gguf"), lambda progress: None)
    # A file that has come in this moment.
    (hub.cache.models_dir / "whole.gguf").write_bytes(DATA)
    assert "whole.gguf is not below" in hub._no_such_local_file(parse_reference("whole.gguf")).message


def test_a_file_is_fetched_with_progress_and_the_second_fetch_asks_nobody(
    hub: Hub, loopback: LoopbackHub
) -> None:
    seen: list[Progress] = []
    path = hub.fetch(reference_from_parts(REPO, "m.Q4_K_M.gguf"), seen.append)
    assert path.read_bytes() == DATA
    assert (seen[0].file, seen[0].bytes_done) == ("m.Q4_K_M.gguf", 0)
    assert (seen[-1].bytes_done, seen[-1].bytes_total, seen[-1].resumed) == (len(DATA), len(DATA), 0)
    asked = len(loopback.requests)
    assert hub.fetch(parse_reference(FILE)) == path
    assert hub.locate(parse_reference(FILE)) == path
    assert len(loopback.requests) == asked


def test_short_spellings_choose_on_the_hub_once_and_then_among_what_is_cached(
    hub: Hub, loopback: LoopbackHub
) -> None:
    loopback.add(REPO, "m.Q8_0.gguf", DATA[::-1])
    loopback.add(REPO, "mmproj-Q8_0.gguf", b"a projector")
    assert hub.locate(parse_reference(f"{REPO}:q8_0")) is None
    assert hub.fetch(parse_reference(f"{REPO}:q8_0")).name == "m.Q8_0.gguf"
    asked = len(loopback.requests)
    assert hub.fetch(parse_reference(f"{REPO}:Q8_0")).name == "m.Q8_0.gguf"
    assert hub.fetch(parse_reference(REPO)).name == "m.Q8_0.gguf"
    assert len(loopback.requests) == asked


def test_a_repository_alone_fetches_its_preferred_quantization(hub: Hub, loopback: LoopbackHub) -> None:
    loopback.add(REPO, "m.Q8_0.gguf", DATA[::-1])
    assert hub.fetch(parse_reference(REPO)).name == "m.Q4_K_M.gguf"


def test_all_parts_of_a_split_file_are_fetched_and_a_later_part_means_the_first(
    hub: Hub, loopback: LoopbackHub
) -> None:
    parts = [DATA[:500_000], DATA[500_000:900_000], DATA[900_000:]]
    for number, data in enumerate(parts, 1):
        loopback.add(REPO, f"big/m-0000{number}-of-00003.gguf", data)
    seen: list[Progress] = []
    path = hub.fetch(parse_reference(f"{REPO}/big/m-00002-of-00003.gguf"), seen.append)
    assert path.name == "m-00001-of-00003.gguf"
    together = b"".join((path.parent / f"m-0000{part}-of-00003.gguf").read_bytes() for part in (1, 2, 3))
    assert together == DATA
    assert {progress.bytes_total for progress in seen} == {len(DATA)}
    assert seen[-1].bytes_done == len(DATA)
    (path.parent / "m-00003-of-00003.gguf").unlink()
    assert hub.locate(parse_reference(f"{REPO}/big/m-00001-of-00003.gguf")) is None


def test_many_who_ask_at_once_share_one_download_and_its_progress(hub: Hub, loopback: LoopbackHub) -> None:
    loopback.misbehave(REPO, bytes_per_second=2_000_000)
    seen: list[list[Progress]] = [[] for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        paths = set(pool.map(lambda one: hub.fetch(parse_reference(FILE), one.append), seen))
    assert len(paths) == 1
    assert [method for method, _ in loopback.requests].count("GET") == 1
    assert all(progress[-1].bytes_done == len(DATA) for progress in seen)


def test_two_processes_that_want_the_same_file_transfer_it_once(hub: Hub, loopback: LoopbackHub) -> None:
    # Slower than the stall timeout: the one that waits must see that the other one moves.
    loopback.misbehave(REPO, bytes_per_second=400_000)
    hubs = [Hub(hub.cache.models_dir, None, 3.0, 0, loopback.url) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        paths = set(pool.map(lambda one: one.fetch(parse_reference(FILE)), hubs))
    assert len(paths) == 1 and paths.pop().read_bytes() == DATA
    assert [method for method, _ in loopback.requests].count("GET") == 1


def test_a_cancelled_download_ends_its_process_and_goes_on_where_it_was(
    hub: Hub, loopback: LoopbackHub
) -> None:
    stalled = loopback.misbehave(REPO, stall_after=1_200_000)
    cancel = threading.Event()

    def cancel_half_way(progress: Progress) -> None:
        if progress.bytes_done > 700_000:
            cancel.set()

    with pytest.raises(Cancelled):
        hub.fetch(parse_reference(FILE), cancel_half_way, cancel)
    assert not download_children()
    assert hub.locate(parse_reference(FILE)) is None
    stalled.times = 0
    assert hub.fetch(parse_reference(FILE)).read_bytes() == DATA
    assert int(loopback.ranges[-1].removeprefix("bytes=").rstrip("-")) > 500_000


def test_one_who_cancels_does_not_take_the_download_from_the_other(hub: Hub, loopback: LoopbackHub) -> None:
    loopback.misbehave(REPO, bytes_per_second=2_000_000)
    cancel = threading.Event()
    with ThreadPoolExecutor(2) as pool:
        stays = pool.submit(hub.fetch, parse_reference(FILE))
        goes = pool.submit(hub.fetch, parse_reference(FILE), lambda progress: cancel.set(), cancel)
        assert isinstance(goes.exception(), Cancelled)
        assert stays.result().read_bytes() == DATA
    assert [method for method, _ in loopback.requests].count("GET") == 1


def test_the_child_ends_when_its_host_is_killed(loopback: LoopbackHub, tmp_path: Path) -> None:
    loopback.misbehave(REPO, stall_after=1000)
    script = (
        "import sys, pathlib; from api_host.models.hub.hub import Hub; from api_host.models.reference import *\n"
        "hub = Hub(pathlib.Path(sys.argv[1]), endpoint=sys.argv[2], disk_reserve=0)\n"
        "hub.fetch(parse_reference(sys.argv[3]), lambda progress: print(progress.bytes_total, flush=True))"
    )
    arguments = [sys.executable, "-c", script, str(tmp_path), loopback.url, FILE]
    host = subprocess.Popen(arguments, stdout=subprocess.PIPE, cwd=ROOT)
    try:
        assert host.stdout is not None and int(host.stdout.readline()) == len(DATA)
        children = psutil.Process(host.pid).children()
        assert len(children) == 1
        host.kill()
        gone, alive = psutil.wait_procs(children, timeout=5)
        assert len(gone) == 1 and not alive
    finally:
        host.kill()
        host.wait()
        assert host.stdout is not None
        host.stdout.close()


def test_a_local_file_wins_over_a_file_of_the_hub_with_the_same_spelling(
    hub: Hub, loopback: LoopbackHub
) -> None:
    local = hub.cache.folder / FILE
    local.parent.mkdir(parents=True)
    local.write_bytes(b"GGUF of my own")
    assert hub.fetch(parse_reference(FILE)) == local
    assert loopback.requests == []


def test_a_local_file_that_is_not_there_lists_what_is_and_asks_no_hub(
    hub: Hub, loopback: LoopbackHub
) -> None:
    folder = hub.cache.folder
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "mine.gguf").write_bytes(b"GGUF")
    assert hub.fetch(parse_reference("sub/mine.gguf")) == folder / "sub" / "mine.gguf"
    with pytest.raises(ModelFileNotFound) as raised:
        hub.fetch(parse_reference("yours.gguf"))
    assert raised.value.details["available"] == ["sub/mine.gguf"]
    assert str(folder) not in raised.value.message
    assert loopback.requests == []


def test_the_demo_model_is_always_here(hub: Hub, loopback: LoopbackHub) -> None:
    assert hub.fetch(parse_reference("demo")) == DEMO_MODEL_PATH
    assert loopback.requests == []


def test_the_child_loads_neither_llama_cpp_nor_flask() -> None:
    script = "import sys, api_host.models.hub.download; print({'llama_cpp', 'flask'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", script], cwd=ROOT, text=True) == "set()\n"


def test_the_loopback_hub_serves_on_its_own(tmp_path: Path) -> None:
    model = tmp_path / "m.gguf"
    model.write_bytes(DATA)
    arguments = [sys.executable, "-m", "tests.fakes.hub", "--add", f"{FILE}={model}"]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        answer = requests.get(f"{url}/{REPO}/resolve/main/m.Q4_K_M.gguf", timeout=5)
        assert answer.content == DATA
    finally:
        process.terminate()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
