"""Where the tunnel is tested: a local server, a stand-in cloudflared, and tunnels that are stopped afterwards.

Knows nothing of what a test expects.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from api_host.tunnel import Timing, Tunnel, TunnelFailed
from tests.fakes.cloudflared import install

# Waits that a good start does not use up are long: on a busy machine its processes take their time.
FAST = Timing(silence=30.0, settle=0.01, probes=2, ready_poll=0.05, watch=0.05, retry=0.05)
SOON_S = 15.0


class Origin(ThreadingHTTPServer):
    """The local server behind the tunnel; ``go_on`` lets its stream send its second half."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), OriginRequest)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.go_on = threading.Event()
        self.paths: list[str] = []


class OriginRequest(BaseHTTPRequestHandler):
    server: Origin

    def do_GET(self) -> None:
        self.server.paths.append(self.path)
        body = json.dumps(dict(self.headers)).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        asked = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"first " + asked + b"\n")
        if self.server.go_on.wait(SOON_S):
            self.wfile.write(b"second\n")

    def log_message(self, *_: Any) -> None:
        pass


def soon(condition: Callable[[], Any], seconds: float = SOON_S) -> bool:
    """Whether ``condition()`` comes true within so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return bool(condition())


def is_open(address: str) -> bool:
    host, port = address.removeprefix("http://").split(":")
    with socket.socket() as visitor:
        return visitor.connect_ex((host, int(port))) == 0


class Ground:
    """A stand-in installed in a folder, what it wrote of itself, and the tunnels to stop at the end."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, local_url: str) -> None:
        self.program = str(install(folder))
        self.local_url = local_url
        self.urls: list[str] = []
        self.problems: list[str] = []
        self.tunnels: list[Tunnel] = []
        self._state = folder / "state.json"
        self._monkeypatch = monkeypatch
        monkeypatch.setenv("FAKE_CLOUDFLARED_STATE", str(self._state))

    def tunnel(self, mode: str = "ok", timing: Timing = FAST, **options: Any) -> Tunnel:
        self._monkeypatch.setenv("FAKE_CLOUDFLARED_MODE", mode)
        options = {"probe": lambda url: True, "on_url": self.urls.append, **options}
        made = Tunnel(
            self.local_url, on_problem=self.problems.append, binary=self.program, timing=timing, **options
        )
        self.tunnels.append(made)
        return made

    @property
    def state(self) -> dict[str, Any]:
        return json.loads(self._state.read_text()) if self._state.exists() else {"launches": 0}


def failure_of(tunnel: Tunnel) -> tuple[str, float]:
    """What ``start`` said and how long it took."""
    began = time.monotonic()
    with pytest.raises(TunnelFailed) as caught:
        tunnel.start()
    return caught.value.message, time.monotonic() - began
