"""A pool of models on fake workers and a fake source, with the settings of a test."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from api_host.config import HostConfig
from api_host.generation import LoadOptions
from api_host.models.pool.lease import Lease
from api_host.models.pool.pool import ModelPool
from api_host.models.reference import parse_reference
from tests.fakes.worker import FakeSource, FakeWorkers

SOON = 15.0
NEED = 1100  # a fake model of 1000 bytes, and a tenth


class Ground:
    """A pool with what it stands on; ``make`` it with the settings of a test."""

    def __init__(self, folder: Path) -> None:
        self.workers = FakeWorkers()
        self.source = FakeSource(folder)
        self.downloaded = 0
        self.loaded: list[str] = []

    def make(self, **settings: Any) -> ModelPool:
        config = HostConfig.from_arguments(**{"memory_budget": 10 * NEED, **settings})
        self.pool = ModelPool(
            config, self.source, self.workers, on_loaded=self._note_loaded, on_downloaded=self._count
        )
        return self.pool

    def _note_loaded(self, name: str, info: object) -> None:
        self.loaded.append(name)

    def _count(self, n_bytes: int) -> None:
        self.downloaded += n_bytes

    def claim(self, name: str, **options: Any) -> Lease:
        return self.pool.acquire(parse_reference(name), LoadOptions(**options))

    def hold(self, name: str, **options: Any) -> Lease:
        lease = self.claim(name, **options)
        assert lease.wait(SOON)
        return lease

    def use(self, name: str, **options: Any) -> None:
        self.hold(name, **options).release()

    def status(self, name: str) -> str:
        return next(entry["status"] for entry in self.pool.entries() if entry["name"] == name)


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.005)
