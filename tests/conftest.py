"""What tests of several rooms share: a real host with the demo model, and the proof that nothing is left behind."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from api_host.host import ApiHost
from tests.fakes.asking import model_of, within
from tests.fakes.house import House
from tests.fakes.pool_ground import Ground
from tests.fakes.processes import below

SETTLE_S = 10.0


@pytest.fixture
def clean_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither the environment nor a config.yaml of this machine has a say in the test's hosts."""
    _clean(monkeypatch, tmp_path)


def _clean(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    for name in [name for name in os.environ if name.startswith("API_HOST_")]:
        monkeypatch.delenv(name)
    for name in ("HF_TOKEN", "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(folder)


@pytest.fixture(scope="module")
def demo_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiHost]:
    """A host with the demo model on a free local port, without a tunnel; one for a module of tests.

    The model is loaded: an answer that waits for it begins with whatever fills the silence in its dialect.
    """
    folder = tmp_path_factory.mktemp("demo_host")
    with pytest.MonkeyPatch.context() as monkeypatch:
        _clean(monkeypatch, folder)
        host = ApiHost(model="demo", tunnel=False, port=0, models_dir=folder, announce=False)
    with host:
        assert within(60, lambda: model_of(host, "demo")["status"] == "loaded")
        yield host


@pytest.fixture
def pool_ground(tmp_path: Path) -> Iterator[Ground]:
    """A pool with a budget for ten fake models; ``make`` another one for other settings."""
    ground = Ground(tmp_path)
    ground.make()
    yield ground
    ground.workers.gate.set()
    ground.source.gate.set()
    ground.pool.stop()
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("load ")] == []


@pytest.fixture
def leaves_nothing() -> Iterator[Callable[[], None]]:
    """Fails when processes or threads are left that were not there before; call it to check earlier."""
    children, threads = below(), set(threading.enumerate())

    def check() -> None:
        deadline = time.monotonic() + SETTLE_S
        while (below() - children or set(threading.enumerate()) - threads) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert below() - children == set()
        assert [thread.name for thread in set(threading.enumerate()) - threads] == []

    yield check
    check()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    yield house
    house.workers.gate.set()
    house.source.gate.set()
    house.pool.stop()
