"""What an ended download leaves behind, and what becomes of it."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from api_host.models.hub.blobs import keeping
from api_host.models.hub.hub import Hub
from api_host.models.reference import parse_reference
from tests.fakes.hub import LoopbackHub


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


def test_a_leftover_longer_than_the_file_is_replaced_by_a_whole_download(tmp_path: Path) -> None:
    with LoopbackHub() as loopback:
        loopback.add("owner/name", "m.gguf", b"GGUF" * 1000)
        hub = Hub(tmp_path, disk_reserve=0, endpoint=loopback.url)
        ref = parse_reference("owner/name/m.gguf")
        blob = hub.fetch(ref).resolve()
        blob.rename(blob.with_name(f"{blob.name}.12345678.incomplete")).write_bytes(b"GGUF" * 1001)
        assert hub.fetch(ref).read_bytes() == b"GGUF" * 1000
        assert [path.name for path in blob.parent.iterdir()] == [blob.name]
