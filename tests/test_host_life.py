"""How a host comes and goes: what it prints, its port, its threads and processes, signals, its tunnel."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
import requests

from api_host.errors import InvalidRequest
from api_host.host import ApiHost
from tests.fakes.asking import ENDLESS, capital_of, is_open, model_of, post, text_of, within, worker_pids
from tests.fakes.cloudflared import install
from tests.fakes.processes import is_gone

pytestmark = pytest.mark.usefixtures("clean_settings")

SERVE = """
from api_host import ApiHost
ApiHost(model="demo", tunnel=False, port=0, token="a-secret-token", models_dir=".").run()
print("after")
"""
FORKS = """
import os, psutil, signal, socket, sys
from api_host import ApiHost
with ApiHost(model="demo", tunnel=False, port=0, models_dir=".", announce=False) as host:
    host.client().load("demo", progress=False)
    before = psutil.Process().children()
    if os.fork() == 0:
        signal.alarm(20)
        sys.exit()
    assert os.wait()[1] == 0, "the child hangs"
    assert psutil.Process().children() == before, "the worker is another one"
    assert host.client().models()[0].status == "loaded"
    port = int(host.local_url.rpartition(":")[2])
    if (child := os.fork()) == 0:
        signal.alarm(20)
        signal.pause()
assert socket.socket().connect_ex(("127.0.0.1", port)) != 0, "the port is still taken"
os.kill(child, signal.SIGKILL)
"""


def test_start_twice_is_one_host(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with ApiHost(model="demo", tunnel=False, port=0, models_dir=tmp_path) as host:
        url, threads = host.local_url, threading.active_count()
        assert within(15, lambda: model_of(host, "demo")["status"] == "loaded")
        workers = worker_pids()
        assert host.start() is host
        assert host.local_url == url
        assert worker_pids() == workers
        assert threading.active_count() <= threads + 3  # the worker's own
        printed = capsys.readouterr().out
    assert printed.count(f"Access token: {host.access_token}") == 2
    assert printed.count(f"Local URL: {url}") == 2


def test_a_host_prints_its_token_first_then_its_url_and_lines_that_work_on_a_laptop(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with ApiHost(model="demo", tunnel=False, port=0, models_dir=tmp_path) as host:
        lines = capsys.readouterr().out.splitlines()
        assert lines[0] == f"Access token: {host.access_token}"
        assert f"Local URL: {host.local_url}" in lines
        code = "\n".join(line[4:] for line in lines if line.startswith("    "))
        exec(compile(code, "snippet", "exec"), {})
        assert len(capsys.readouterr().out) > 5


def test_a_taken_port_moves_on_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", 0))
        squatter.listen()
        taken = squatter.getsockname()[1]
        with ApiHost(tunnel=False, port=taken, models_dir=tmp_path) as host:
            assert host.local_url != f"http://127.0.0.1:{taken}"
            assert requests.get(f"{host.local_url}/health", timeout=5).json()["status"] == "ok"
    assert f"Port {taken} is taken" in capsys.readouterr().out


def test_stop_leaves_no_process_no_thread_and_no_port_and_start_works_again(
    tmp_path: Path, leaves_nothing: Callable[[], None]
) -> None:
    host = ApiHost(model="demo", tunnel=False, port=0, models_dir=tmp_path, announce=False)
    token = host.access_token
    for _ in range(2):
        host.start()
        text_of(post(host, {"inputs": capital_of("France")}))
        port = int(host.local_url.rpartition(":")[2])
        host.stop()
        host.stop()
        leaves_nothing()
        assert not is_open(port)
        assert host.access_token == token
        with pytest.raises(RuntimeError, match="start"):
            host.local_url  # noqa: B018


def test_stop_under_load_answers_who_waits_and_leaves_nothing(
    tmp_path: Path, leaves_nothing: Callable[[], None]
) -> None:
    host = ApiHost(model="demo", tunnel=False, port=0, models_dir=tmp_path, announce=False).start()
    with ThreadPoolExecutor(6) as clients:
        waiting = [clients.submit(post, host, ENDLESS) for _ in range(6)]
        assert within(15, lambda: model_of(host, "demo")["n_running"] == 4)
        began = time.monotonic()
        host.stop()
        assert time.monotonic() - began < 15
        for future in waiting:
            with contextlib.suppress(requests.ConnectionError):
                assert future.result().status_code >= 400
    leaves_nothing()


def test_without_a_token_everybody_is_served_and_a_warning_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with ApiHost(model="demo", use_token=False, tunnel=False, port=0, models_dir=tmp_path) as host:
        assert host.access_token is None
        answer = requests.post(f"{host.local_url}/api", json={"inputs": capital_of("France")}, timeout=30)
        assert answer.status_code == 200
    assert capsys.readouterr().out.startswith("WARNING: this host asks for no access token")


def test_a_default_model_that_is_not_there_is_told_and_the_host_serves(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with ApiHost(model="nothing.gguf", tunnel=False, port=0, models_dir=tmp_path) as host:
        assert within(15, lambda: model_of(host, "nothing.gguf")["status"] == "failed")
        assert post(host, {"inputs": "Hello"}).status_code == 404
        text_of(post(host, {"model": "demo", "inputs": "Hello"}))
    assert "nothing.gguf is not loaded" in capsys.readouterr().out


def test_a_default_model_that_is_no_name_is_refused_when_the_host_is_built() -> None:
    with pytest.raises(InvalidRequest, match="model"):
        ApiHost(model="../secret", tunnel=False)


def test_run_serves_until_another_thread_stops_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    host = ApiHost(tunnel=False, port=0, models_dir=tmp_path)
    serving = threading.Thread(target=host.run)
    serving.start()
    assert within(15, lambda: host.running)
    host.stop()
    serving.join(15)
    assert not serving.is_alive()
    assert "Serving until interrupted" in capsys.readouterr().out


def test_each_run_of_a_host_returns_when_it_is_stopped(tmp_path: Path) -> None:
    host = ApiHost(tunnel=False, port=0, models_dir=tmp_path, announce=False)
    for _ in range(2):
        runs = [threading.Thread(target=host.run, daemon=True) for _ in range(2)]
        for serving in runs:
            serving.start()
        assert within(15, lambda: host.running and len(host._wakers) == 2)
        host.stop()
        for serving in runs:
            serving.join(15)
        assert not any(serving.is_alive() for serving in runs)


def test_a_host_that_is_started_again_at_once_outlives_the_run_before(tmp_path: Path) -> None:
    host = ApiHost(tunnel=False, port=0, models_dir=tmp_path, announce=False)
    serving = threading.Thread(target=host.run)
    serving.start()
    assert within(15, lambda: host.running)
    with host._lock:  # run finds the host started again, as it may without this
        host.stop()
        host.start()
        serving.join(0.2)
    serving.join(15)
    assert not serving.is_alive()
    assert host.running
    host.stop()


class Serving:
    """``ApiHost(...).run()`` in a process of its own, up and with its model loaded."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVE],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.lines = []
        for line in self.process.stdout:
            self.lines.append(line.rstrip())
            if line.startswith("Model: demo is loaded"):
                break
        self.children = psutil.Process(self.process.pid).children()
        url = next(line for line in self.lines if line.startswith("Local URL: "))
        self.port = int(url.rpartition(":")[2])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_run_cleanly_and_the_program_goes_on(tmp_path: Path, number: signal.Signals) -> None:
    serving = Serving(tmp_path)
    assert len(serving.children) == 1
    os.kill(serving.process.pid, number)
    out, err = serving.process.communicate(timeout=30)
    assert (serving.process.returncode, err) == (0, "")
    assert out.splitlines()[-1] == "after"
    assert is_gone(serving.children[0])
    assert not is_open(serving.port)


def test_a_killed_host_takes_its_workers_along(tmp_path: Path) -> None:
    serving = Serving(tmp_path)
    serving.process.kill()
    serving.process.communicate(timeout=30)
    (worker,) = serving.children
    assert within(15, lambda: is_gone(worker))


def test_a_forked_child_neither_ends_the_host_nor_keeps_its_port(tmp_path: Path) -> None:
    program = subprocess.run(
        [sys.executable, "-c", FORKS], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert (program.returncode, program.stderr) == (0, "")


def test_a_tunnel_is_printed_when_it_is_up_and_gone_after_stop(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    leaves_nothing: Callable[[], None],
) -> None:
    monkeypatch.setenv("API_HOST_CLOUDFLARED", str(install(tmp_path)))
    monkeypatch.setenv("API_HOST_TUNNEL_PROBE", "0")
    with ApiHost(port=0, models_dir=tmp_path) as host:
        assert within(15, lambda: host.url != host.local_url)
        assert host.url.endswith(".trycloudflare.com")
        host.start()  # prints it again, in case the tunnel's own line is not there yet
        printed = capsys.readouterr().out
    assert f"Public URL: {host_url(printed)}" in printed
    assert f"client = Client('{host_url(printed)}', " in printed


def host_url(printed: str) -> str:
    line = next(line for line in printed.splitlines() if line.startswith("Public URL: "))
    return line.removeprefix("Public URL: ")


@pytest.mark.parametrize("address", ["127.0.0.2", "::1", "0.0.0.0"])
def test_a_tunnel_leads_to_the_address_that_the_host_listens_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    state = tmp_path / "state.json"
    monkeypatch.setenv("API_HOST_CLOUDFLARED", str(install(tmp_path)))
    monkeypatch.setenv("API_HOST_TUNNEL_PROBE", "0")
    monkeypatch.setenv("FAKE_CLOUDFLARED_STATE", str(state))
    with ApiHost(address=address, port=0, models_dir=tmp_path, announce=False) as host:
        assert within(15, lambda: host.url != host.local_url)
        proxy = json.loads(state.read_text())["proxy"]
        assert requests.get(f"{proxy}/health", timeout=5).json()["status"] == "ok"


def test_without_a_tunnel_the_reason_is_one_line_and_the_host_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("API_HOST_CLOUDFLARED", str(install(tmp_path)))
    monkeypatch.setenv("FAKE_CLOUDFLARED_MODE", "refuse_429")
    printed = ""

    def is_told() -> bool:
        nonlocal printed
        printed += capsys.readouterr().out
        return "Public URL: none: " in printed

    with ApiHost(port=0, models_dir=tmp_path) as host:
        assert within(15, is_told)
        assert requests.get(f"{host.url}/health", timeout=5).status_code == 200
        assert host.url == host.local_url
