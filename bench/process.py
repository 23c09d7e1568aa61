"""A server's process from start to end: a free port, ready when it answers, ended with all its children.

Knows nothing of what the server serves.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType

import psutil

from bench.servers import ROOT, Server, Setting

READY_TIMEOUT_S = 180.0
STOP_TIMEOUT_S = 20.0
POLL_S = 0.005
# What ends a bench, by its handlers in __main__.py.
ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class ServerFailed(Exception):
    """A server ended, or did not begin to answer; with the end of what it printed."""


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class RunningServer:
    """A server, started when it is entered as a context and ended when that is left, in the main thread.

    Args:
        server: which one.
        setting: how it runs.
        log: the file that takes what it prints.
    """

    def __init__(self, server: Server, setting: Setting, log: Path) -> None:
        self.server = server
        self.setting = setting
        self.port = free_port()
        self.log = log

    def __enter__(self) -> RunningServer:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.started = time.perf_counter()
        ends = list[int]()
        before = {number: signal.signal(number, lambda each, _: ends.append(each)) for number in ENDS}
        # A handler that raised within Popen would leave a server behind that nobody knows.
        try:
            self._process = self._start()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        try:
            for end in ends:
                signal.raise_signal(end)
        except BaseException:
            self.stop()
            raise
        return self

    def _start(self) -> subprocess.Popen[bytes]:
        with self.log.open("wb") as output:
            return subprocess.Popen(
                self.server.command(self.setting, self.port),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # No config.yaml of the current folder and no setting of the environment may have a say.
                cwd=self.log.parent,
                env=own_environment(),
                start_new_session=True,
            )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pids(self) -> list[int]:
        """The process and all that it has started."""
        process = psutil.Process(self._process.pid)
        return [process.pid, *(child.pid for child in process.children(recursive=True))]

    def wait_ready(self) -> None:
        """Returns when it answers 200. Raises ServerFailed when it ends or takes longer than three minutes."""
        while not self._answers():
            self.check(READY_TIMEOUT_S)
            time.sleep(POLL_S)

    def check(self, timeout: float) -> None:
        """Raises ServerFailed when it has ended, or was started more than ``timeout`` seconds ago."""
        if self._process.poll() is not None:
            raise ServerFailed(
                f"{self.server.name} ended with code {self._process.returncode}: {self._said()}"
            )
        if time.perf_counter() - self.started > timeout:
            raise ServerFailed(f"{self.server.name} does not answer after {timeout:g} s: {self._said()}")

    def stop(self) -> None:
        """Ends it, politely at first, and whoever it leaves behind."""
        self._process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_TIMEOUT_S)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", self.server.ready_path)
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def _said(self) -> str:
        return self.log.read_text(errors="replace")[-1000:]


def own_environment() -> dict[str, str]:
    """This one's, without what would set a server up; where Python's packages and llama.cpp's library lie stays."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("API_HOST_", "LLAMA_")) or name == "LLAMA_CPP_LIB_PATH"
    }
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    return {**kept, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
