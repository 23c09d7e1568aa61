"""Whether allocated memory gets huge pages: as the kernel says, and as the C library was told to ask."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from api_host.engine.huge_pages import huge_pages

ASKED = "glibc.malloc.hugetlb=1"


def kernel_that_says(text: str, folder: Path) -> Path:
    path = folder / "enabled"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("said", "tunables", "has"),
    [
        ("[always] madvise never\n", "", True),
        ("always [madvise] never\n", "", False),
        ("always [madvise] never\n", ASKED, True),
        ("always madvise [never]\n", ASKED, False),
    ],
)
def test_the_kernel_decides_and_one_that_wants_to_be_asked_is_asked(
    said: str, tunables: str, has: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    if not hasattr(os, "confstr") or "glibc" not in (os.confstr("CS_GNU_LIBC_VERSION") or ""):
        pytest.skip("this C library is not glibc; run this test on a Linux with glibc 2.35 or newer")
    monkeypatch.setenv("GLIBC_TUNABLES", tunables)
    assert huge_pages(kernel_that_says(said, tmp_path)) == has


def test_a_system_without_them_has_none(tmp_path: Path):
    assert not huge_pages(tmp_path / "enabled")


def test_a_worker_is_told_to_ask_for_them():
    asked = subprocess.run(
        [sys.executable, "-c", "from api_host.engine.process import _environment; print(_environment())"],
        capture_output=True,
        text=True,
        check=True,
        env={name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"},
    ).stdout
    assert ASKED in asked
