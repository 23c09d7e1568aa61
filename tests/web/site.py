"""A host's web layer on a fake pipeline, behind the real server on a loopback port."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from typing import Any

import requests

from api_host.generation import Accepted, Chunk
from api_host.metrics import Metrics
from api_host.web.app import close_app, create_app
from api_host.web.server import Server
from api_host.web.streaming import Pace
from tests.fakes.pipeline import FakePipeline

TOKEN = "a-token-for-tests"
SHORT_PACE = Pace(stream_grace=0.1, plain_grace=0.2, padding=0.05)


ENDLESS = [Accepted("demo", 1), *[step for _ in range(10_000) for step in (Chunk("x"), 0.01)]]


class Site:
    """A running server, spoken to as its owner."""

    def __init__(self, pipeline: FakePipeline, token: str | None = TOKEN) -> None:
        self.pipeline = pipeline
        self.metrics = Metrics()
        self.app = create_app(pipeline, token, self.metrics, "1.2.3", pace=SHORT_PACE)
        self.server = Server(self.app, "127.0.0.1", 0, threads=16)
        self.port = self.server.start()
        self.url = f"http://127.0.0.1:{self.port}"
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Bearer {TOKEN}"

    def post(self, body: Any, path: str = "/api", **options: Any) -> requests.Response:
        return self.session.post(self.url + path, json=body, timeout=10, **options)

    def get(self, path: str, **options: Any) -> requests.Response:
        return self.session.get(self.url + path, timeout=10, **options)

    def problems(self, body: Any, path: str = "/api") -> list[str]:
        """The sentences with which a body is refused."""
        response = self.post(body, path)
        assert response.status_code == 400, response.text
        found = response.json()["error"]
        assert isinstance(found, list)
        return found

    def raw(self, body: Any = None, path: str = "/api", head: str = "") -> socket.socket:
        """A socket on which a POST of ``body`` has been sent."""
        sock = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        content = json.dumps(body).encode()
        lines = [f"POST {path} HTTP/1.1", "Host: x", f"Authorization: Bearer {TOKEN}"]
        lines += [f"Content-Length: {len(content)}", *head.splitlines(), "", ""]
        sock.sendall("\r\n".join(lines).encode() + content)
        return sock

    def close(self) -> None:
        self.session.close()
        self.server.stop()
        close_app(self.app)


def events(body: bytes) -> list[tuple[str, Any]]:
    """The server-sent events of a whole stream, as (name, data); comments are left out."""
    found = []
    assert body.endswith(b"\n\n")
    for block in body.decode().removesuffix("\n\n").split("\n\n"):
        fields = [line.partition(": ") for line in block.split("\n") if not line.startswith(":")]
        if not fields:
            continue
        named = {name: value for name, _, value in fields}
        assert set(named) <= {"event", "data"}
        found.append((named.get("event", "message"), json.loads(named["data"])))
    return found


def read_all(sock: socket.socket) -> bytes:
    """All bytes until the other side closes."""
    data = b""
    while piece := sock.recv(65536):
        data += piece
    return data


def until(condition: Callable[[], bool], seconds: float = 15.0) -> bool:
    """Whether ``condition`` comes true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True
