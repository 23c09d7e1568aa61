"""What a person at a terminal does with a running command, and sees of it."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
from collections.abc import Callable

import psutil

TIMEOUT_S = 60

Cli = Callable[..., "subprocess.CompletedProcess[str]"]
Start = Callable[..., "subprocess.Popen[str]"]


def interrupt(process: subprocess.Popen[str], number: signal.Signals = signal.SIGINT) -> tuple[int, str]:
    """Ctrl-C; returns the exit code and what was said on stderr. Nothing it had started may be left."""
    family = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(number)
    _, err = process.communicate(timeout=TIMEOUT_S)
    _, alive = psutil.wait_procs(family, timeout=10)
    assert alive == []
    return process.returncode, err


def press_until_it_ends(process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> int:
    """Ctrl-C while a line is read; returns the exit code.

    A signal that comes between a prompt and the wait for a line is seen with the next one (as anywhere in Python).
    """
    for _ in range(10):
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(5)
    raise AssertionError("the command does not end on Ctrl-C")


def serving_url(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        found = re.search(r"http://127\.0\.0\.1:\d+", line)
        if found:
            return found[0]
    raise AssertionError(f"no local URL was printed: {process.communicate()[1]}")


def assert_one_line_error(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 1, done.stderr
    assert done.stdout == ""
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("Error: "), done.stderr
    for word in words:
        assert word in lines[0]
