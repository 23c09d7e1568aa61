"""GPU statistics: what NVML tells, what it fails to tell, and the WebSocket that passes it on."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import requests
import websocket
from flask import Flask

from api_host.gpus import Gpu, Gpus
from api_host.metrics import Metrics
from api_host.web.dialects import zephyr
from api_host.web.server import Server
from api_host.web.streaming import Pace, Responder
from tests.fakes.pipeline import FakePipeline
from tests.web.site import TOKEN, Site, until

GB = 2**30


class FakeNvml:
    """The names of ``pynvml`` that a reading uses, for ``count`` GPUs; ``gone`` takes the driver away."""

    class NVMLError(Exception):
        pass

    def __init__(self, count: int) -> None:
        self.count = count
        self.gone = False
        self.lost: set[int] = set()
        self.without_load: set[int] = set()
        self.inits = 0
        self.is_open = False

    def _check(self, device: int | None = None) -> None:
        if self.gone or device in self.lost or not self.is_open:
            raise self.NVMLError

    def nvmlInit(self) -> None:
        self.inits += 1
        if self.gone:
            raise self.NVMLError
        self.is_open = True

    def nvmlShutdown(self) -> None:
        self._check()

    def nvmlSystemGetDriverVersion(self) -> str:
        self._check()
        return "550.54.15"

    def nvmlDeviceGetCount(self) -> int:
        self._check()
        return self.count

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        self._check(index)
        return index

    def nvmlDeviceGetName(self, device: int) -> str:
        self._check(device)
        return f"Tesla T{device}"

    def nvmlDeviceGetMemoryInfo(self, device: int) -> Any:
        self._check(device)
        return SimpleNamespace(total=15 * GB, used=5 * GB, free=10 * GB)

    def nvmlDeviceGetUtilizationRates(self, device: int) -> Any:
        self._check(device)
        if device in self.without_load:
            raise self.NVMLError
        return SimpleNamespace(gpu=37, memory=5)


def gpu(index: int, load: float | None = 37.0) -> Gpu:
    return Gpu(index, f"Tesla T{index}", "550.54.15", load, 5120.0, 10240.0, 15360.0)


def test_each_gpu_is_told_with_its_load_and_memory() -> None:
    nvml = FakeNvml(2)
    gpus = Gpus(lambda: nvml)
    assert gpus.read() == gpus.read() == [gpu(0), gpu(1)]
    assert nvml.inits == 1


def test_bindings_are_loaded_once_and_not_before_they_are_needed() -> None:
    loads: list[FakeNvml] = []

    def load() -> FakeNvml:
        loads.append(FakeNvml(1))
        return loads[-1]

    gpus = Gpus(load)
    assert loads == []
    gpus.read()
    gpus.read()
    assert len(loads) == 1


def test_without_the_package_there_are_no_gpus_and_it_is_looked_for_once() -> None:
    looks = []

    def load() -> Any:
        looks.append(1)
        raise ImportError("no module named pynvml")

    gpus = Gpus(load)
    assert (gpus.read(), gpus.read(), len(looks)) == ([], [], 1)


def test_a_driver_that_goes_leaves_none_and_one_that_comes_back_is_read_again() -> None:
    nvml = FakeNvml(1)
    gpus = Gpus(lambda: nvml)
    assert gpus.read() == [gpu(0)]
    nvml.gone = True
    assert gpus.read() == gpus.read() == []
    nvml.gone = False
    assert gpus.read() == [gpu(0)]


def test_a_lost_gpu_is_left_out_and_a_load_that_nobody_tells_is_null() -> None:
    nvml = FakeNvml(3)
    nvml.lost, nvml.without_load = {1}, {2}
    assert Gpus(lambda: nvml).read() == [gpu(0), gpu(2, load=None)]


def test_this_machines_own_gpus_are_read_without_an_error() -> None:
    assert all(found.memoryTotal > 0 for found in Gpus().read())


def test_the_bindings_are_not_imported_with_the_dialect() -> None:
    code = "import sys, api_host.web.dialects.zephyr; print('pynvml' in sys.modules, 'black' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == ["False", "False"]


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site(FakePipeline())
    yield site
    site.close()


def connect(port: int, **options: Any) -> websocket.WebSocket:
    options.setdefault("header", [f"Authorization: Bearer {TOKEN}"])
    return websocket.create_connection(f"ws://127.0.0.1:{port}/zephyr/ws/gpu-stats", timeout=5, **options)


def test_a_host_sends_its_gpus_once_a_second_whatever_the_client_says(site: Site) -> None:
    expected = {"gpus": [vars(found) for found in Gpus().read()]}
    began = (
        time.monotonic()
    )  # the first ones are sent later than this, and the next ones a second after those
    client = connect(site.port)
    try:
        assert len(json.loads(client.recv())["gpus"]) == len(expected["gpus"])
        client.send("faster")
        client.recv()
        assert 0.9 < time.monotonic() - began < 8
    finally:
        client.close()


def test_the_token_may_stand_in_the_handshakes_query_and_a_wrong_one_gets_a_401(site: Site) -> None:
    url = f"ws://127.0.0.1:{site.port}/zephyr/ws/gpu-stats"
    client = websocket.create_connection(f"{url}?token={TOKEN}", timeout=5)
    assert "gpus" in json.loads(client.recv())
    client.close()
    with pytest.raises(websocket.WebSocketBadStatusException) as refused:
        websocket.create_connection(f"{url}?token=wrong", timeout=5)
    assert refused.value.status_code == 401
    assert json.loads(refused.value.resp_body or b"")["detail"] == "wrong token"


def test_the_address_asked_without_a_socket_says_what_it_is(site: Site) -> None:
    response = site.get("/zephyr/ws/gpu-stats")
    assert response.status_code == 426
    assert "WebSocket" in response.json()["detail"]


@pytest.fixture
def gpu_server() -> Iterator[tuple[int, FakeNvml]]:
    """The dialect alone, on a machine with one GPU."""
    nvml = FakeNvml(1)
    app = Flask(__name__)
    responder = Responder(Metrics(), Pace())
    app.register_blueprint(zephyr.dialect(FakePipeline(), responder, Gpus(lambda: nvml)).blueprint)
    server = Server(app, "127.0.0.1", 0, threads=2)
    yield server.start(), nvml
    server.stop()


def test_the_socket_carries_the_figures_and_outlives_the_driver(gpu_server: tuple[int, FakeNvml]) -> None:
    port, nvml = gpu_server
    client = connect(port)
    told = {
        "id": 0,
        "name": "Tesla T0",
        "driver_version": "550.54.15",
        "load": 37.0,
        "memoryUsed": 5120.0,
        "memoryFree": 10240.0,
        "memoryTotal": 15360.0,
    }
    assert json.loads(client.recv()) == {"gpus": [told]}
    nvml.gone = True
    assert json.loads(client.recv()) == {"gpus": []}
    client.close()


def test_a_client_that_goes_gives_its_thread_back(gpu_server: tuple[int, FakeNvml]) -> None:
    port, _ = gpu_server
    for _ in range(4):  # more than the server has threads
        client = connect(port)
        client.recv()
        client.shutdown()

    def answers() -> bool:
        return requests.get(f"http://127.0.0.1:{port}/zephyr", timeout=5).status_code == 200

    assert until(answers)
