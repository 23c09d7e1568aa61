"""Starts the console script as a user does: real processes, in a folder and a home of their own."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.terminal import TIMEOUT_S, Cli, Start, Terminal


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A user's environment without a configuration, and with a home of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("API_HOST_", "HF_"))}
    for name in ("XDG_STATE_HOME", "XDG_CACHE_HOME"):
        kept.pop(name, None)
    return {**kept, "HOME": str(tmp_path), "HF_HOME": str(tmp_path / "hf"), "PYTHONUNBUFFERED": "1"}


@pytest.fixture
def start(environment: dict[str, str], tmp_path: Path) -> Iterator[Start]:
    """Starts ``api-host ARGUMENTS``; whatever still runs at the end of the test is ended."""
    begun: list[subprocess.Popen[str]] = []

    def start(*arguments: str, **more_environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "api_host.cli", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env={**environment, **more_environment},
        )
        begun.append(process)
        return process

    yield start
    for process in begun:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def cli(start: Start) -> Cli:
    """Runs ``api-host ARGUMENTS`` to its end, with ``stdin`` as its input."""

    def run(*arguments: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        process = start(*arguments, **environment)
        out, err = process.communicate(stdin, timeout=TIMEOUT_S)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    return run


@pytest.fixture
def terminal(environment: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    """Starts ``api-host ARGUMENTS`` in a terminal; whatever still runs at the end of the test is ended."""
    with contextlib.ExitStack() as terminals:

        def begin(*arguments: str, size: tuple[int, int] = (40, 100), **more_environment: str) -> Terminal:
            begun = Terminal(list(arguments), environment, tmp_path, more_environment, size)
            return terminals.enter_context(begun)

        yield begin
