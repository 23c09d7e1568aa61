"""A host in a process of its own, with the demo model, as ``api-host serve`` starts it.

Knows nothing of requests; whoever asks it has its URL and its token.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TIMEOUT_S = 60.0
_URL = re.compile(r"http://127\.0\.0\.1:\d+")


@dataclass
class HostProcess:
    """A running host: ``said`` is what it has printed."""

    url: str
    token: str
    said: list[str]


@contextlib.contextmanager
def host_process(folder: Path, token: str, **settings: str) -> Iterator[HostProcess]:
    """Serves the demo model from ``folder`` until the block ends; nothing of the host is left then.

    Args:
        folder: its home and its models' folder.
        token: the access token.
        settings: further environment variables.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("API_HOST_", "HF_"))}
    environment = {
        **kept,
        "HOME": str(folder),
        "API_HOST_TOKEN": token,
        "API_HOST_MODELS_DIR": str(folder),
        "PYTHONUNBUFFERED": "1",
        **settings,
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "api_host.cli", "serve", "--model", "demo", "--no-tunnel", "--port", "0"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=folder,
        env=environment,
    )
    said: list[str] = []
    ready = threading.Event()
    reader = threading.Thread(target=_read, args=(process, said, ready))
    reader.start()
    try:
        assert ready.wait(TIMEOUT_S), said
        yield HostProcess(_url(said), token, said)
    finally:
        process.terminate()
        try:
            process.wait(TIMEOUT_S)
        finally:
            process.kill()
            reader.join()


def _read(process: subprocess.Popen[str], said: list[str], ready: threading.Event) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        said.append(line)
        if _URL.search(line):
            ready.set()
    ready.set()


def _url(said: list[str]) -> str:
    found = _URL.search("".join(said))
    assert found is not None, said
    return found[0]
