"""A whole host with the demo model in a process of its own, as a person runs it, and what it says of itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import requests

TOKEN = "a-token-of-the-page"
_SERVE = """
import sys
from api_host import ApiHost
ApiHost(model="demo", tunnel=False, port=0, token=sys.argv[1], models_dir=".").run()
"""


class ServedHost:
    """A running host. ``url`` is where it is, ``token`` opens it.

    Args:
        folder: an empty one; it is the host's working directory and holds its models.
    """

    token = TOKEN

    def __init__(self, folder: Path) -> None:
        clean = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("API_HOST_", "HF_")) or name == "HF_HOME"
        }
        command = [sys.executable, "-u", "-c", _SERVE, TOKEN]
        root = Path(__file__).parents[2]
        clean["PYTHONPATH"] = os.pathsep.join([str(root), str(root / "client")])
        self._process = subprocess.Popen(
            command, cwd=folder, env=clean, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.url = self._read_url()

    def _read_url(self) -> str:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            name, _, value = line.strip().partition(": ")
            if name == "Local URL":
                return value
        raise AssertionError("the host ended without telling its URL")

    def get(self, path: str) -> requests.Response:
        headers = {"Authorization": f"Bearer {self.token}"}
        return requests.get(self.url + path, headers=headers, timeout=10)

    def model(self, name: str = "demo") -> dict[str, Any]:
        """The model as ``GET /api/models`` shows it."""
        models = self.get("/api/models").json()["models"]
        return next(model for model in models if model["name"] == name)

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.communicate(timeout=20)
