"""A whole host with the demo model and a hub on the loopback that has the same model, and plain ways to ask it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
import websocket

from api_host.host import ApiHost
from api_host.models.demo import DEMO_MODEL_PATH
from tests.fakes.hub import LoopbackHub

REPO, FILE = "owner/demo-GGUF", "demo-Q8_0.gguf"
LOCAL = "folder/local.gguf"
QUESTION = "What is the capital of France?"
CHAT = [{"role": "user", "content": QUESTION}]


class AskedHost:
    """A host as a client sees it; what it is asked carries the token as a bearer, unless ``headers`` are given."""

    def __init__(self, host: ApiHost) -> None:
        self.url = host.local_url
        self.token = str(host.access_token)

    @property
    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def post(self, path: str, body: Any = None, **options: Any) -> requests.Response:
        options.setdefault("headers", self.bearer)
        return requests.post(self.url + path, json=body, timeout=60, **options)

    def get(self, path: str, **options: Any) -> requests.Response:
        options.setdefault("headers", self.bearer)
        return requests.get(self.url + path, timeout=60, **options)

    def answered(self, path: str, body: Any = None, **options: Any) -> Any:
        """The JSON of an answer that has to be good."""
        answer = self.post(path, body, **options)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def socket(self, path: str, **options: Any) -> websocket.WebSocket:
        return websocket.create_connection(self.url.replace("http", "ws", 1) + path, timeout=30, **options)


@contextmanager
def asked_host(folder: Path) -> Iterator[AskedHost]:
    """Serves until the block ends; models are kept below ``folder``."""
    local = folder / LOCAL
    local.parent.mkdir()
    local.write_bytes(DEMO_MODEL_PATH.read_bytes())
    with LoopbackHub() as hub, pytest.MonkeyPatch.context() as monkeypatch:
        hub.add(REPO, FILE, DEMO_MODEL_PATH)
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        settings: dict[str, Any] = {"tunnel": False, "port": 0, "announce": False, "disk_reserve": 0}
        with ApiHost(model="demo", models_dir=folder, **settings) as host:
            yield AskedHost(host)
