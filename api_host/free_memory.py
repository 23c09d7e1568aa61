"""How much memory is free here: what the machine has left, and what a container's limit leaves.

Knows nothing of who asks. The limits are the kernel's control groups, version 2 (docs: cgroup-v2.rst) and 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil

_GROUPS = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")


def free_memory(groups: Path = _GROUPS, own: Path = _OWN) -> int:
    """Bytes that this process may still take; pages that only cache files count as free.

    Args:
        groups: where the control groups are mounted.
        own: the file that says in which of them this process is.
    """
    return max(0, min([psutil.virtual_memory().available, *_left_in_groups(groups, own)]))


def _left_in_groups(groups: Path, own: Path) -> Iterator[int]:
    """What each limit leaves, of this process's group and those around it."""
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return
    for _, controllers, path in (line.split(":", 2) for line in lines if line.count(":") >= 2):
        if controllers == "":
            yield from _each(groups, path, "memory.max", "memory.current", ("active_file", "inactive_file"))
        elif "memory" in controllers.split(","):
            names = ("total_active_file", "total_inactive_file")
            yield from _each(groups / "memory", path, "memory.limit_in_bytes", "memory.usage_in_bytes", names)


def _each(root: Path, path: str, limit: str, taken: str, cached: tuple[str, ...]) -> Iterator[int]:
    """From the group at ``path`` outwards; inside a container the outer ones are not there to be read."""
    here = root / path.lstrip("/")
    for folder in (here, *here.parents):
        if folder.is_relative_to(root):
            try:
                # A group without a limit says "max" here.
                most, used = int((folder / limit).read_text()), int((folder / taken).read_text())
                yield most - used + _cached(folder, cached)
            except (OSError, ValueError):
                continue


def _cached(folder: Path, names: tuple[str, ...]) -> int:
    pairs = (line.split() for line in (folder / "memory.stat").read_text().splitlines())
    return sum(int(value) for name, value in pairs if name in names)
