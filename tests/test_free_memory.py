"""Free memory: the machine's, and what a container's limit leaves of it, on folders as the kernel writes them."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from api_host.free_memory import free_memory

MB = 2**20
STAT = "anon {anon}\nfile 0\ninactive_file {inactive}\nactive_file {active}"


def group(folder: Path, **files: object) -> None:
    """A control group with these files; ``__`` in a name is a dot."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(f"{content}\n")


def version_2(folder: Path, limit: object, taken: int) -> None:
    stat = STAT.format(anon=taken - 30 * MB, inactive=20 * MB, active=10 * MB)
    group(folder, memory__max=limit, memory__current=taken, memory__stat=stat)


def version_1(folder: Path, limit: int, taken: int) -> None:
    stat = (
        f"cache 0\ninactive_file 1\nactive_file 1\ntotal_inactive_file {20 * MB}\ntotal_active_file {10 * MB}"
    )
    group(folder, memory__limit_in_bytes=limit, memory__usage_in_bytes=taken, memory__stat=stat)


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    machine = psutil.virtual_memory()._replace(available=1000 * MB)
    monkeypatch.setattr("psutil.virtual_memory", lambda: machine)
    return tmp_path / "cgroup"


def free(groups: Path, own: str) -> int:
    (groups.parent / "own").write_text(own)
    return free_memory(groups, groups.parent / "own") // MB


def test_a_container_has_what_its_limit_leaves_and_pages_of_files_count_as_free(groups: Path) -> None:
    version_2(groups, 500 * MB, 200 * MB)
    assert free(groups, "0::/\n") == 500 - 200 + 30
    version_2(groups, 5000 * MB, 200 * MB)
    assert free(groups, "0::/\n") == 1000
    version_2(groups, 500 * MB, 600 * MB)
    assert free(groups, "0::/\n") == 0


def test_the_tightest_group_around_the_process_counts(groups: Path) -> None:
    version_2(groups / "a" / "b", "max", 100 * MB)
    version_2(groups / "a", 400 * MB, 150 * MB)
    version_2(groups / "other", 50 * MB, 40 * MB)
    assert free(groups, "0::/a/b\n") == 400 - 150 + 30


def test_groups_of_version_1_are_read_where_a_container_shows_them(groups: Path) -> None:
    version_1(groups / "memory", 300 * MB, 100 * MB)
    own = "12:cpu,cpuacct:/docker/0123\n4:memory:/docker/0123\n0::/\n"
    assert free(groups, own) == 300 - 100 + 30
    version_1(groups / "memory", 2**63 - 4096, 100 * MB)
    assert free(groups, own) == 1000


@pytest.mark.parametrize("own", ["", "0::/\n", "0::/gone\n", "nonsense", "0::/../..\n"])
def test_without_a_limit_it_is_the_machines(groups: Path, own: str) -> None:
    version_2(groups, "max", 100 * MB)
    assert free(groups, own) == 1000


def test_without_control_groups_it_is_the_machines(groups: Path) -> None:
    assert free_memory(groups, groups / "none") == 1000 * MB
    assert free(groups, "0::/\n") == 1000


def test_this_machine_has_free_memory() -> None:
    assert 0 < free_memory() <= psutil.virtual_memory().total
