"""Checks of the machine itself: Python, packages, compiler, settings, disk, port."""

from __future__ import annotations

import errno
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import psutil
from packaging.requirements import Requirement

from api_host.cli.doctor.check import Finding, broken, ok, warning
from api_host.cli.sizes import size_text
from api_host.config import HostConfig
from api_host.models.cache import ModelCache

OLDEST, NEWEST = (3, 10), (3, 13)
COMPILERS = ("c++", "g++", "clang++")
# A small model at Q4; with less than this a first download is likely to be refused.
ROOM_FOR_A_MODEL = 5_000_000_000
_ASK_LIMIT_S = 5.0


def python(version: tuple[int, ...] = sys.version_info[:3], system: str = platform.system()) -> Finding:
    """The interpreter and the system below it."""
    told = f"Python {'.'.join(map(str, version))}, {system} {platform.machine()}"
    if version[:2] < OLDEST:
        return broken(told, "Python 3.10 or newer is needed: make a virtual environment with one")
    if system != "Linux":
        return warning(told, "only Linux is tested; on Windows use WSL")
    if version[:2] > NEWEST:
        return warning(told, "not tested with this Python yet; 3.10 to 3.13 are")
    return ok(told)


def packages(package: str = "api-host") -> Finding:
    """Whether what ``package`` needs is there, new enough."""
    missing, told = [], []
    for text in importlib.metadata.requires(package) or ():
        need = Requirement(text)
        if need.marker is not None and not need.marker.evaluate({"extra": ""}):
            continue
        try:
            version = importlib.metadata.version(need.name)
        except importlib.metadata.PackageNotFoundError:
            missing.append(need)
            told.append(f"{need.name} is missing")
            continue
        if not need.specifier.contains(version, prereleases=True):
            missing.append(need)
            told.append(f"{need.name} is {version}, {need.specifier} is needed")
    if missing:
        names = " ".join(f"'{need.name}{need.specifier}'" for need in missing)
        return broken("; ".join(told), f"{sys.executable} -m pip install --upgrade {names}")
    own = importlib.metadata.version(package)
    main = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("huggingface-hub", "flask"))
    return ok(f"{package} {own}, {main}, and all others new enough")


def compiler() -> Finding:
    """Whether llama.cpp could be built here."""
    named = os.environ.get("CXX", "").split()
    found = next((path for name in [*named[:1], *COMPILERS] if (path := shutil.which(name))), None)
    if found is not None:
        return ok(_first_line([found, "--version"]) or found)
    cure = "apt-get install build-essential (or your system's C++ compiler), or install a prebuilt wheel"
    if importlib.util.find_spec("llama_cpp") is None:
        return broken("no C++ compiler on the PATH, and llama-cpp-python is not installed", cure)
    return warning("no C++ compiler on the PATH: llama-cpp-python can be used, but not built anew", cure)


def disk(config: HostConfig) -> Finding:
    """Whether models can be kept where they are to be."""
    folder = ModelCache(config.models_dir).folder
    place = next(path for path in (folder, *folder.parents) if path.exists())
    free, reserve = shutil.disk_usage(place).free, config.disk_reserve
    told = f"{size_text(free)} free for models in {folder}"
    elsewhere = "or keep models elsewhere: API_HOST_MODELS_DIR"
    if not place.is_dir() or not os.access(place, os.W_OK):
        return broken(f"{place} cannot be written to", f"change its owner or its permissions, {elsewhere}")
    if free <= reserve:
        return broken(
            f"{told}, and {size_text(reserve)} are to stay free: every download would be refused",
            f"`api-host ls` and `api-host rm` make room; or set API_HOST_DISK_RESERVE lower, {elsewhere}",
        )
    if free - reserve < ROOM_FOR_A_MODEL:
        cure = f"`api-host rm` makes room, {elsewhere}"
        return warning(f"{told}, {size_text(reserve)} of them reserved: enough for small models only", cure)
    return ok(told)


def port(config: HostConfig) -> Finding:
    """Whether the host can listen where it is to."""
    place = f"{config.address}:{config.port}"
    if config.port == 0:
        return ok("any free port will do")
    try:
        _listen(config.address, config.port)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return warning(
                f"{place} is taken{_by_whom(config.port)}",
                "the host moves on to the next free port; or choose one: api-host serve --port 8080",
            )
        return broken(
            f"{place} cannot be listened on: {error.strerror}",
            "choose an address of this machine and a port above 1023: api-host serve --host 127.0.0.1 --port 5000",
        )
    return ok(f"{place} is free")


def _listen(address: str, port: int) -> None:
    family, kind, protocol, _, target = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(target)
        # On Linux two sockets may be bound for reuse; only one may listen.
        listener.listen(1)


def _by_whom(port: int) -> str:
    """`` by NAME (process N)``, where the system tells."""
    try:
        for connection in psutil.net_connections("tcp"):
            listens = connection.status == psutil.CONN_LISTEN and tuple(connection.laddr)[1:2] == (port,)
            if listens and connection.pid:
                return f" by {psutil.Process(connection.pid).name()} (process {connection.pid})"
    except psutil.Error:
        return ""
    return ""


def _first_line(command: list[str]) -> str:
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=_ASK_LIMIT_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return (said.stdout.splitlines() or [Path(command[0]).name])[0]
