"""Whether what llama.cpp allocates lies in huge pages.

A step on a CPU reads all weights, and pages of 4 KiB are many to look up; a file that is mapped into memory has no
others. Linux only, and where the kernel gives them only to who asks, glibc from 2.35 on with the setting that the host
starts a worker with.

Knows nothing of models.
"""

from __future__ import annotations

import os
from pathlib import Path

_ASKED = "glibc.malloc.hugetlb=1"
_KERNEL = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def huge_pages(kernel: Path = _KERNEL) -> bool:
    """Whether memory that this process allocates in large pieces gets huge pages, as far as there are any."""
    try:
        modes = kernel.read_text()
    except OSError:
        return False
    if "[madvise]" in modes:
        return _ASKED in os.environ.get("GLIBC_TUNABLES", "") and _glibc() >= (2, 35)
    return "[always]" in modes


def _glibc() -> tuple[int, ...]:
    try:
        name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
    except (AttributeError, OSError, ValueError):
        return ()
    return tuple(int(part) for part in version.split(".")) if name == "glibc" else ()
