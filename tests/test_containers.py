"""What can be known of the container unbuilt: its settings exist, its files are there, its health check works."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from api_host.cli.root import cli
from api_host.config import HostConfig
from api_host.host import ApiHost

ROOT = Path(__file__).parent.parent
DOCKERFILE = (ROOT / "Dockerfile").read_text()
PROJECT = (ROOT / "pyproject.toml").read_text()
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
SETTING = re.compile(r"\bAPI_HOST_([A-Z_]+)\b")


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions in order, each with its arguments on one line."""
    lines = [line for line in DOCKERFILE.splitlines() if line.strip() and not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [
        (name, " ".join(rest.split()))
        for name, _, rest in (line.partition(" ") for line in joined.splitlines())
    ]


def last(name: str) -> str:
    return [arguments for instruction, arguments in instructions() if instruction == name][-1]


def environment() -> dict[str, str]:
    """The variables that the image sets for the host."""
    return {name: value for name, value in re.findall(r"(\w+)=(\S+)", last("ENV")) if SETTING.fullmatch(name)}


def health_check() -> list[str]:
    command = json.loads(last("HEALTHCHECK").partition(" CMD ")[2])
    assert command[0] == "python"
    return [sys.executable, *command[1:]]


def exit_status(port: int) -> int:
    """How the health check ends when the host is to be at ``port``."""
    return subprocess.run(
        health_check(), env={**os.environ, "API_HOST_PORT": str(port)}, capture_output=True, timeout=30
    ).returncode


@pytest.mark.parametrize("file", ["Dockerfile", "compose.yaml"])
def test_every_variable_that_is_named_is_a_setting(file: str) -> None:
    named = {name.lower() for name in SETTING.findall((ROOT / file).read_text())}
    assert named
    assert named - set(HostConfig.model_fields) == set()


@pytest.mark.usefixtures("clean_settings")
def test_the_images_own_settings_are_read_as_they_are_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    config = HostConfig()
    assert (config.address, config.port, config.tunnel) == ("0.0.0.0", 5000, False)
    assert config.models_dir == Path(last("VOLUME"))
    assert last("EXPOSE") == str(config.port)


def test_the_host_does_not_run_as_root() -> None:
    user, _, group = last("USER").partition(":")
    assert int(user) > 0 and int(group) > 0
    created = next(rest for name, rest in instructions() if name == "RUN" and "useradd" in rest)
    assert f"--uid {user} " in created


def test_the_health_check_sees_a_host_and_its_absence(demo_host: ApiHost) -> None:
    assert exit_status(int(demo_host.local_url.rpartition(":")[2])) == 0
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound and not listening: nobody else can answer there
        assert exit_status(closed.getsockname()[1]) == 1


def test_what_is_started_is_a_command_of_the_command_line() -> None:
    (program,) = json.loads(last("ENTRYPOINT"))
    assert re.search(rf"^{program} = ", PROJECT.partition("[project.scripts]")[2], re.MULTILINE)
    assert CliRunner().invoke(cli, [*json.loads(last("CMD")), "--help"]).exit_code == 0


def test_every_file_that_is_copied_is_there_and_let_in() -> None:
    let_in = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    copied = [
        source
        for name, rest in instructions()
        if name == "COPY" and "--from" not in rest
        for source in rest.split()[:-1]
    ]
    assert sorted(copied) == sorted(let_in)
    assert [source for source in copied if not (ROOT / source).exists()] == []


def test_llama_cpp_is_installed_as_the_project_asks_for_it() -> None:
    pattern = re.search(r"grep -o '(llama-cpp-python[^']*)' pyproject.toml", DOCKERFILE)
    assert pattern
    (found,) = re.findall(pattern[1], PROJECT)
    assert re.fullmatch(r"llama-cpp-python>=[\d.]+", found)


@pytest.mark.parametrize("accelerator", ["cpu", "cuda"])
def test_each_accelerator_has_a_stage_to_build_and_one_to_run_in(accelerator: str) -> None:
    stages = {rest.rpartition(" AS ")[2] for name, rest in instructions() if name == "FROM"}
    assert {f"build-{accelerator}", f"runtime-{accelerator}"} <= stages


def test_the_services_build_what_the_dockerfile_knows_and_mount_its_volume() -> None:
    services: dict[str, Any] = COMPOSE["services"]
    arguments = {rest.partition("=")[0] for name, rest in instructions() if name == "ARG"}
    assert set(services["host-gpu"]["build"]["args"]) <= arguments
    (device,) = services["host-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert device["capabilities"] == ["gpu"]
    assert services["host-gpu"]["profiles"] == ["gpu"] and "profiles" not in services["host"]
    for name in ("host", "host-gpu"):
        service = services[name]
        volume, _, place = service["volumes"][0].partition(":")
        assert volume in COMPOSE["volumes"] and place == last("VOLUME")
        assert set(service["depends_on"]) <= set(services)
        assert service["environment"]["API_HOST_CACHE"].startswith("redis://redis:")
        assert service["ports"][0].endswith(f":{last('EXPOSE')}")
