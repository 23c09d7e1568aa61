"""How the tests of a whole host ask it: plain requests, and looks at its processes and ports."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from typing import Any

import requests

from api_host.host import ApiHost
from tests.fakes.processes import running

ENDLESS = {"inputs": "A cat sat on", "parameters": {"max_tokens": 100_000, "ignore_eos": True}}


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def capital_of(country: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": f"What is the capital of {country}?"}]


def post(host: ApiHost, body: dict[str, Any]) -> requests.Response:
    return requests.post(f"{host.local_url}/api", json={"token": host.access_token, **body}, timeout=60)


def send_only(host: ApiHost, body: dict[str, Any]) -> socket.socket:
    """Sends a request and reads nothing; closing the socket is the client's going."""
    content = json.dumps({"token": host.access_token, **body}).encode()
    head = f"POST /api HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    client = socket.create_connection(("127.0.0.1", int(host.local_url.rpartition(":")[2])))
    client.sendall(head.encode() + content)
    return client


def completion_tokens(host: ApiHost) -> float:
    """Tokens of the generations that have come to their end."""
    headers = {"Authorization": f"Bearer {host.access_token}"}
    text = requests.get(f"{host.local_url}/metrics", headers=headers, timeout=10).text
    line = next(
        line for line in text.splitlines() if line.startswith('api_host_tokens_total{kind="completion"}')
    )
    return float(line.split()[-1])


def text_of(answer: requests.Response) -> str:
    assert answer.status_code == 200, answer.text
    return str(answer.json()["answer"]["content"])


def model_of(host: ApiHost, name: str) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {host.access_token}"}
    models = requests.get(f"{host.local_url}/api/models", headers=headers, timeout=10).json()["models"]
    return next(model for model in models if model["name"] == name)


def worker_pids() -> set[int]:
    return {child.pid for child in running("api_host.engine.worker")}


def within(seconds: float, condition: Callable[[], bool]) -> bool:
    """Whether the condition comes true in so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


def is_open(port: int) -> bool:
    with socket.socket() as visitor:
        return visitor.connect_ex(("127.0.0.1", port)) == 0
