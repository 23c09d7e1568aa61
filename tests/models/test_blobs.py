"""What an ended download leaves behind, and what becomes of it."""

from __future__ import annotations

import errno
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from api_host.models.cache import mark_of
from api_host.models.hub.blobs import keeping
from api_host.models.hub.hub import Hub
from api_host.models.reference import parse_reference
from tests.fakes.hub import LoopbackHub

REF = parse_reference("owner/name/m.gguf")


@pytest.mark.parametrize(
    ("broken", "left"),
    [
        (RuntimeError("no route"), ["etag.1234.kept.incomplete"]),
        (OSError(errno.ENOSPC, "disk full"), ["etag.1234.incomplete"]),
    ],
)
def test_what_broke_off_on_the_network_is_taken_from_the_library_and_a_full_disk_is_not(
    tmp_path: Path, broken: Exception, left: list[str]
) -> None:
    def xet_get(*, incomplete_path: Path) -> None:
        incomplete_path.write_bytes(b"half")
        raise broken

    with pytest.raises(type(broken)):
        keeping(xet_get)(incomplete_path=tmp_path / "etag.1234.incomplete")
    assert [path.name for path in tmp_path.iterdir()] == left


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with LoopbackHub() as loopback:
        loopback.add("owner/name", "m.gguf", b"GGUF" * 1000)
        yield Hub(tmp_path, disk_reserve=0, endpoint=loopback.url)


def test_what_was_kept_goes_when_another_process_has_fetched_the_file(hub: Hub) -> None:
    blob = hub.fetch(REF).resolve()
    blob.with_name(f"{blob.name}.12345678.kept.incomplete").write_bytes(b"GGUF" * 500)
    mark_of(blob).touch()
    hub.fetch(REF)
    assert [path.name for path in blob.parent.iterdir()] == [blob.name]


def test_a_leftover_longer_than_the_file_is_replaced_by_a_whole_download(hub: Hub) -> None:
    blob = hub.fetch(REF).resolve()
    blob.rename(blob.with_name(f"{blob.name}.12345678.incomplete")).write_bytes(b"GGUF" * 1001)
    assert hub.fetch(REF).read_bytes() == b"GGUF" * 1000
    assert [path.name for path in blob.parent.iterdir()] == [blob.name]


def test_a_file_too_large_for_the_file_system_is_none_of_the_network(tmp_path: Path) -> None:
    """As on FAT32, which has no files over 4 GB; here by the process's own limit."""
    script = (
        "import resource, sys; from pathlib import Path; from api_host.errors import DiskFull;"
        "from api_host.models.hub.hub import Hub; from api_host.models.reference import parse_reference;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000));"
        "hub = Hub(Path(sys.argv[1]), disk_reserve=0, endpoint=sys.argv[2])\n"
        "try: hub.fetch(parse_reference('owner/name/m.gguf'))\n"
        "except DiskFull as error: print(error.message)"
    )
    with LoopbackHub() as loopback:
        loopback.add("owner/name", "m.gguf", bytes(1_000_000))
        command = [sys.executable, "-c", script, str(tmp_path), loopback.url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert "larger than the disk's file system" in done.stdout, done.stderr
