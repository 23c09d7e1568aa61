"""What a person at a terminal does with a running command, and sees of it: a real pseudo-terminal of their own."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import psutil

TIMEOUT_S = 60
UP, TAB, CTRL_C, CTRL_D, ERASE_LINE = "\x1b[A", "\t", "\x03", "\x04", "\x15"

Cli = Callable[..., "subprocess.CompletedProcess[str]"]
Start = Callable[..., "subprocess.Popen[str]"]

_STEP = re.compile(r"\x1b\[([?\d;]*)([A-Za-z])|\x1b\][^\x07]*\x07|(\r|\n|\x08)|([^\x1b\r\n\x08]+)")


class Terminal:
    """A command in a terminal of its own, as its session's leader: Ctrl-C reaches it as it does a person's.

    Args:
        arguments: of ``api-host``.
        environment: as the ``environment`` fixture has it; ``more`` of it comes last.
        folder: where it is started.
        size: rows and columns.
    """

    def __init__(
        self,
        arguments: list[str],
        environment: dict[str, str],
        folder: Path,
        more: dict[str, str],
        size: tuple[int, int] = (40, 100),
    ) -> None:
        self._end, inside = pty.openpty()
        fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
        kept = {name: value for name, value in environment.items() if name not in ("CI", "NO_COLOR")}
        self.process = subprocess.Popen(
            [sys.executable, "-c", _WITH_A_TERMINAL, *arguments],
            stdin=inside,
            stdout=inside,
            stderr=inside,
            cwd=folder,
            env={**kept, "TERM": "xterm-256color", **more},
            start_new_session=True,
        )
        self._inside = inside
        self.raw = ""
        self._searched = 0

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._inside)
        os.close(self._end)

    def type(self, keys: str) -> None:
        os.write(self._end, keys.encode())

    def until(self, *marks: str) -> None:
        """Reads until all ``marks`` have been shown, one after the other, behind those of earlier calls."""
        for mark in marks:
            deadline = time.monotonic() + TIMEOUT_S
            while (found := self.raw.find(mark, self._searched)) < 0:
                assert time.monotonic() < deadline, (
                    f"{mark!r} was not shown within {TIMEOUT_S} s: {self.raw!r}"
                )
                self._read(1.0)
            self._searched = found + len(mark)

    def read_for(self, seconds: float) -> None:
        """Reads what is shown in that time."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self._read(left)

    def to_the_end(self) -> int:
        """Reads until the command has ended; its exit code. Nothing that it had started may be left."""
        family = (
            psutil.Process(self.process.pid).children(recursive=True) if self.process.poll() is None else []
        )
        deadline = time.monotonic() + TIMEOUT_S
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"the command does not end: {self.raw!r}"
            self._read(0.1)
        self._read(0.0)
        _, alive = psutil.wait_procs(family, timeout=10)
        assert alive == []
        return self.process.returncode

    def settle(self) -> None:
        """Until readline waits for keys: a signal between its prompt and that is seen with the next key."""
        deadline, asleep = time.monotonic() + TIMEOUT_S, 0
        while asleep < 5:  # in a row: what only waits for a processor is not asleep
            assert time.monotonic() < deadline, f"the command does not wait for keys: {self.raw!r}"
            self.read_for(0.1)
            status = psutil.Process(self.process.pid).status()
            asleep = asleep + 1 if status == psutil.STATUS_SLEEPING else 0

    @property
    def echoes(self) -> bool:
        """Whether typed keys are shown."""
        return bool(termios.tcgetattr(self._inside)[3] & termios.ECHO)

    @property
    def screen(self) -> str:
        """What stands there now, line by line, without colours."""
        return "\n".join(screen_of(self.raw))

    def _read(self, wait_s: float) -> None:
        ready, _, _ = select.select([self._end], [], [], wait_s)
        if ready:
            with contextlib.suppress(OSError):
                self.raw += os.read(self._end, 65536).decode(errors="replace")


# The terminal becomes the one of the new session, so that Ctrl-C is a signal to it.
_WITH_A_TERMINAL = """
import fcntl, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from api_host.cli import main
main(sys.argv[1:])
"""


def screen_of(raw: str) -> list[str]:
    """The lines that a terminal shows after ``raw``, as far as it writes, erases lines and moves the cursor."""
    lines, row, column = [""], 0, 0
    for number, kind, control, text in (step.groups() for step in _STEP.finditer(raw)):
        if control == "\r":
            column = 0
        elif control == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif control == "\x08" or kind == "D":
            column = max(0, column - int(number or 1))
        elif kind == "A":
            row = max(0, row - int(number or 1))
        elif kind == "C":
            column += int(number or 1)
        elif kind == "K":
            lines[row] = "" if number == "2" else lines[row][:column]
        elif text:
            line = lines[row].ljust(column)
            lines[row] = line[:column] + text + line[column + len(text) :]
            column += len(text)
    return [line.rstrip() for line in lines]


def interrupt(process: subprocess.Popen[str], number: signal.Signals = signal.SIGINT) -> tuple[int, str]:
    """Ctrl-C; returns the exit code and what was said on stderr. Nothing it had started may be left."""
    family = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(number)
    _, err = process.communicate(timeout=TIMEOUT_S)
    _, alive = psutil.wait_procs(family, timeout=10)
    assert alive == []
    return process.returncode, err


def press_until_it_ends(process: subprocess.Popen[str]) -> int:
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


def listening_at(process: subprocess.Popen[str]) -> set[str]:
    """The addresses at which the process takes connections."""
    found = psutil.Process(process.pid).net_connections("tcp")
    return {connection.laddr[0] for connection in found if connection.status == psutil.CONN_LISTEN}


def assert_one_line_error(done: subprocess.CompletedProcess[str], *words: str, code: int = 1) -> None:
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("Error: "), done.stderr
    for word in words:
        assert word in lines[0]
