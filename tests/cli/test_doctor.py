"""``api-host doctor``: each thing that can be wrong with a machine, brought about for real, and its cure."""

from __future__ import annotations

import json
import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from api_host.cli import exits
from api_host.cli.doctor import llama, machine
from api_host.cli.doctor.check import Check, Level, broken, examine, ok, warning
from api_host.config import HostConfig
from tests.cli.terminal import CTRL_C, TIMEOUT_S, Cli, Start, Terminal
from tests.fakes import cloudflared
from tests.fakes.programs import program, with_first

CLOSED = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def healthy_hub() -> Iterator[str]:
    """A hub that knows one token."""

    class Hub(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            refused = self.path == "/api/whoami-v2" and self.headers["Authorization"] != "Bearer hf_good"
            body = b"[]"
            self.send_response(401 if refused else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


class Doctor:
    """Runs it and keeps what it found, by the name of the check."""

    def __init__(self, cli: Cli, *arguments: str, **environment: str) -> None:
        # Without a tunnel and with a hub that refuses at once, unless a test is about them.
        done = cli(
            "doctor", "--json", *arguments, **{"API_HOST_TUNNEL": "0", "HF_ENDPOINT": CLOSED, **environment}
        )
        told = json.loads(done.stdout)
        self.ok: bool = told["ok"]
        self.code = done.returncode
        self.checks: dict[str, dict[str, str]] = {check["name"]: check for check in told["checks"]}

    def __getitem__(self, name: str) -> dict[str, str]:
        return self.checks[name]

    def assert_found(self, name: str, level: str, told: str, cure: str) -> None:
        check = self[name]
        assert check["level"] == level, check
        assert told in check["told"] and cure in check["cure"], check
        assert self.ok == (self.code == 0)
        if level == "broken":
            assert self.code == exits.FAILED


def test_a_machine_that_is_well_is_told_so(cli: Cli, healthy_hub: str) -> None:
    doctor = Doctor(
        cli, HF_ENDPOINT=healthy_hub, HF_TOKEN="hf_good", API_HOST_PORT="0", API_HOST_DISK_RESERVE="0"
    )
    assert (doctor.ok, doctor.code) == (True, 0)
    assert [name for name, check in doctor.checks.items() if check["level"] == "broken"] == []
    assert list(doctor.checks) == [
        *("python", "packages", "settings", "compiler", "llama.cpp", "gpu"),
        *("disk", "port", "hub", "cloudflared", "demo model"),
    ]
    assert "takes the hub token" in doctor["hub"]["told"]
    assert "tokens per second" in doctor["demo model"]["told"]
    assert "llama-cpp-python" in doctor["llama.cpp"]["told"]


def test_a_hub_that_cannot_be_reached_breaks_a_host_that_needs_it_alone(cli: Cli) -> None:
    on_this_disk = Doctor(cli, API_HOST_MODEL="demo")
    on_this_disk.assert_found(
        "hub", "warning", "cannot be reached (the connection is refused)", "HF_ENDPOINT"
    )
    elsewhere = Doctor(cli, API_HOST_MODEL="owner/name:Q4_K_M")
    elsewhere.assert_found("hub", "broken", "owner/name:Q4_K_M is not on this disk", "connect this machine")
    offline = Doctor(cli, HF_HUB_OFFLINE="1")
    offline.assert_found("hub", "warning", "HF_HUB_OFFLINE is set", "unset HF_HUB_OFFLINE")


def test_a_token_that_the_hub_refuses_is_told_but_not_repeated(cli: Cli, healthy_hub: str) -> None:
    doctor = Doctor(cli, HF_ENDPOINT=healthy_hub, HF_TOKEN="hf_secret_but_wrong")
    doctor.assert_found("hub", "warning", "does not take the hub token", "HF_TOKEN")
    assert "hf_secret_but_wrong" not in json.dumps(doctor.checks)


def test_a_hub_token_that_cannot_be_sent_is_broken(cli: Cli, healthy_hub: str) -> None:
    doctor = Doctor(cli, HF_ENDPOINT=healthy_hub, HF_TOKEN="hf_of two")
    doctor.assert_found("hub", "broken", "HF_TOKEN: printable ASCII", "unset it")


def test_a_taken_port_is_a_warning_that_names_who_has_it(cli: Cli) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        doctor = Doctor(cli, API_HOST_PORT=str(port))
    doctor.assert_found("port", "warning", f"127.0.0.1:{port} is taken", "next free port")
    assert f"process {os.getpid()}" in doctor["port"]["told"]


def test_an_address_of_another_machine_is_broken(cli: Cli) -> None:
    doctor = Doctor(cli, API_HOST_ADDRESS="192.0.2.1")
    doctor.assert_found("port", "broken", "192.0.2.1:5000 cannot be listened on", "--host 127.0.0.1")


def test_a_disk_without_room_or_rights_is_broken(cli: Cli, tmp_path: Path) -> None:
    full = Doctor(cli, "--models-dir", str(tmp_path / "new"), API_HOST_DISK_RESERVE=str(10**18))
    full.assert_found("disk", "broken", "every download would be refused", "API_HOST_DISK_RESERVE")
    (tmp_path / "file").write_text("a file where a folder should be")
    wrong = Doctor(cli, API_HOST_MODELS_DIR=str(tmp_path / "file"))
    wrong.assert_found("disk", "broken", "cannot be written to", "API_HOST_MODELS_DIR")
    free = shutil.disk_usage(tmp_path).free
    little = Doctor(cli, "--models-dir", str(tmp_path), API_HOST_DISK_RESERVE=str(free - 2_000_000_000))
    little.assert_found("disk", "warning", "enough for small models only", "api-host rm")


def test_a_path_without_a_compiler_is_a_warning_while_llama_cpp_is_there(cli: Cli, tmp_path: Path) -> None:
    doctor = Doctor(cli, PATH=str(tmp_path), CXX="")
    doctor.assert_found("compiler", "warning", "no C++ compiler on the PATH", "build-essential")


def test_settings_that_are_wrong_are_told_and_spare_what_needs_them(cli: Cli) -> None:
    doctor = Doctor(cli, API_HOST_CTX_LENGTH="tiny")
    doctor.assert_found("settings", "broken", "ctx_length", "API_HOST_")
    assert doctor["disk"]["told"].startswith("not looked at")
    doctor.assert_found("demo model", "broken", "ctx_length", "mend what is told above")
    assert Doctor(cli, API_HOST_MODEL="no name at all")["settings"]["level"] == "broken"


def test_an_old_package_is_broken_with_the_command_that_mends_it(cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "old" / "cheroot-1.0.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: cheroot\nVersion: 1.0\n")
    doctor = Doctor(cli, PYTHONPATH=str(folder.parent))
    doctor.assert_found("packages", "broken", "cheroot is 1.0", "-m pip install --upgrade 'cheroot>=10.0'")


def test_a_llama_cpp_that_does_not_load_is_broken(cli: Cli, tmp_path: Path) -> None:
    package = tmp_path / "wrong" / "llama_cpp"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise OSError('libcudart.so.12: cannot open shared object file')")
    doctor = Doctor(cli, PYTHONPATH=str(package.parent))
    doctor.assert_found(
        "llama.cpp", "broken", "libcudart.so.12: cannot open shared object file", "--force-reinstall"
    )
    doctor.assert_found("demo model", "broken", "no answer", "mend what is told above")


NVIDIA_SMI = 'case "$1" in *driver*) echo "Tesla T4, 15360 MiB, 550.54";; *) echo "Tesla T4";; esac'


def test_a_gpu_that_the_build_cannot_use_is_broken_with_the_wheel_that_can(cli: Cli, tmp_path: Path) -> None:
    if "for the CPU" not in llama.build().told:
        pytest.skip("this build of llama.cpp is for a GPU; install the CPU build to run this test")
    program(tmp_path / "bin", "nvidia-smi", NVIDIA_SMI)
    doctor = Doctor(cli, PATH=with_first(tmp_path / "bin"))
    doctor.assert_found("llama.cpp", "broken", "built for the CPU only, and Tesla T4 is not used", "whl/cu")
    assert doctor["gpu"]["told"] == "Tesla T4, 15360 MiB; driver 550.54"


def test_a_driver_that_does_not_answer_is_broken(cli: Cli, tmp_path: Path) -> None:
    failing = "echo 'NVIDIA-SMI has failed because it could not communicate with the NVIDIA driver.'; exit 9"
    program(tmp_path / "bin", "nvidia-smi", failing)
    doctor = Doctor(cli, PATH=with_first(tmp_path / "bin"))
    doctor.assert_found("gpu", "broken", "could not communicate", "restart the machine")
    program(tmp_path / "bin", "nvidia-smi", "exit 0")
    none = Doctor(cli, PATH=with_first(tmp_path / "bin"))
    none.assert_found("gpu", "warning", "knows no GPU", "accelerator")


def test_cloudflared_is_found_asked_and_missed(cli: Cli, tmp_path: Path) -> None:
    here = {"API_HOST_TUNNEL": "1", "HTTPS_PROXY": ""}
    stand_in = cloudflared.install(tmp_path)
    runs = Doctor(cli, API_HOST_CLOUDFLARED=str(stand_in), **here)
    assert "cloudflared version 2026.1.0" in runs["cloudflared"]["told"]
    named = Doctor(cli, API_HOST_CLOUDFLARED=str(tmp_path / "nothing"), **here)
    named.assert_found("cloudflared", "broken", "no program that can be run", "unset it")
    other = Doctor(cli, API_HOST_CLOUDFLARED=str(program(tmp_path / "bin", "other", "echo hello")), **here)
    other.assert_found("cloudflared", "broken", "does not run as cloudflared", "API_HOST_CLOUDFLARED")
    assert Doctor(cli, API_HOST_TUNNEL="0")["cloudflared"]["told"] == "not needed: the tunnel is off"


def test_an_interpreter_that_is_too_old_or_too_new_or_on_another_system() -> None:
    assert machine.python((3, 9, 2), "Linux").level is Level.BROKEN
    assert machine.python((3, 12, 1), "Linux").level is Level.OK
    assert machine.python((3, 14, 0), "Linux").level is Level.WARNING
    assert "WSL" in machine.python((3, 12, 1), "Windows").cure


def test_a_check_that_hangs_is_told_within_its_limit_and_one_that_fails_takes_no_other_along() -> None:
    hang = threading.Event()

    def fails() -> Any:
        raise RuntimeError("a fault")

    def hangs() -> Any:
        hang.wait()

    late = warning("too late", "wait")
    checks = [
        Check("hangs", hangs, 0.3, late),
        Check("fails", fails, 5.0, late),
        Check("well", lambda: ok("fine"), 5.0, late),
    ]
    begun = time.monotonic()
    found = dict(examine(checks))
    assert time.monotonic() - begun < 4.0
    hang.set()
    assert found == {
        "hangs": late,
        "fails": broken(
            "the check itself failed: RuntimeError: a fault", "report this, with what is said above"
        ),
        "well": ok("fine"),
    }


def test_a_driver_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "bin", "nvidia-smi", "exec sleep 60")
    monkeypatch.setenv("PATH", with_first(tmp_path / "bin"))
    monkeypatch.setattr(llama, "DRIVER_LIMIT_S", 0.3)
    found = llama.driver()
    assert found.level is Level.BROKEN and "nothing within" in found.told


def test_the_port_of_a_free_machine_is_free(clean_settings: None) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert machine.port(HostConfig.from_arguments(port=port)) == ok(f"127.0.0.1:{port} is free")


def test_a_person_reads_lines_with_cures_and_the_exit_code(cli: Cli) -> None:
    done = cli("doctor", API_HOST_TUNNEL="0", HF_ENDPOINT=CLOSED, API_HOST_DISK_RESERVE=str(10**18))
    assert done.returncode == exits.FAILED
    lines = done.stdout.splitlines()
    disk = next(number for number, line in enumerate(lines) if line.startswith("broken   disk "))
    assert lines[disk + 1].lstrip().startswith("Do: ")
    assert lines[-1].startswith("1 broken, ")
    quiet = cli("doctor", "--quiet", API_HOST_TUNNEL="0", HF_ENDPOINT=CLOSED)
    assert quiet.returncode == 0
    assert all(line.startswith(("warning", " ")) for line in quiet.stdout.splitlines())


def test_at_a_terminal_it_fits_the_width_and_ends_on_ctrl_c(terminal: Any) -> None:
    shown: Terminal = terminal("doctor", size=(40, 70), API_HOST_TUNNEL="0", HF_ENDPOINT=CLOSED)
    shown.until("demo model", "a host works")
    assert shown.to_the_end() == 0
    # A path or a command is never cut, so that it can be copied.
    assert [line for line in shown.screen.splitlines() if len(line) > 70 and "/" not in line] == []
    assert len(shown.screen.splitlines()) > 14
    again: Terminal = terminal("doctor", API_HOST_TUNNEL="0", HF_ENDPOINT=CLOSED)
    again.until("python")
    again.type(CTRL_C)
    assert again.to_the_end() == exits.INTERRUPTED
    assert "Traceback" not in again.raw


def test_it_changes_nothing_on_the_disk(start: Start, tmp_path: Path) -> None:
    process = start("doctor", "--json", API_HOST_TUNNEL="0", HF_ENDPOINT=CLOSED)
    process.communicate(timeout=TIMEOUT_S)
    assert [path.name for path in tmp_path.iterdir()] == []
