"""Looks at processes that may end while they are looked at."""

from __future__ import annotations

import contextlib

import psutil


def is_gone(process: psutil.Process) -> bool:
    """Whether the process has ended; whoever adopted it may not have taken its exit code yet."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # it ended between the two
        return True


def below() -> set[psutil.Process]:
    """All that this process has started, and what those have."""
    return set(psutil.Process().children(recursive=True))


def running(word: str) -> list[psutil.Process]:
    """Those below this process that run and have the word in their command."""
    found = []
    for process in below():
        with contextlib.suppress(psutil.NoSuchProcess):
            if word in process.cmdline():
                found.append(process)
    return found
