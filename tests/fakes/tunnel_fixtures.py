"""The fixtures of the tunnel's tests: a local server behind it, and the ground, which must be clean afterwards."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.processes import below
from tests.fakes.tunnel_ground import Ground, Origin


@pytest.fixture
def origin() -> Iterator[Origin]:
    server = Origin()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def ground(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, origin: Origin) -> Iterator[Ground]:
    made = Ground(tmp_path, monkeypatch, origin.url)
    yield made
    for tunnel in made.tunnels:
        tunnel.stop()
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("tunnel")] == []
    assert below() == set()
