"""What an ended download leaves behind, and what becomes of it."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from api_host.models.hub.blobs import keeping


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
