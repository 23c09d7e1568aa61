"""A real redis-server on a free loopback port, for one test."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

START_S = 10.0


class RedisServer:
    """Started by ``start``, killed by ``kill``; it comes back on the same port, and remembers nothing.

    Args:
        folder: where it may write, which it does not.
        password: asked of its clients; None is none.
    """

    def __init__(self, folder: Path, password: str | None = None) -> None:
        program = shutil.which("redis-server")
        if program is None:
            pytest.skip("redis-server is missing; apt-get install redis-server")
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self._command = [program, "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        self._command += ["--appendonly", "no", "--dir", str(folder), "--logfile", str(folder / "redis.log")]
        self._command += ["--requirepass", password] if password else []
        self._process: subprocess.Popen[bytes] | None = None
        self._user = f":{password}@" if password else ""

    @property
    def url(self) -> str:
        return f"redis://{self._user}127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> RedisServer:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + START_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return self
            except OSError:
                assert self._process.poll() is None, "redis-server has ended"
                assert time.monotonic() < deadline, "redis-server does not listen"
                time.sleep(0.01)

    def kill(self) -> None:
        """Ends it at once; may be called again."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
