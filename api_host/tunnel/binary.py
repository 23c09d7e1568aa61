"""Where the cloudflared program is: named, on the PATH, fetched earlier, or fetched into a private folder.

Which release fits which platform is flask_cloudflared's knowledge. Starts no tunnel.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import IO

import requests
from flask_cloudflared import CLOUDFLARED_CONFIG

from api_host.errors import TunnelFailed
from api_host.tunnel import diagnosis, reach

BINARY_ENV = "API_HOST_CLOUDFLARED"
# Cloudflare supports a release for one year; a copy is fetched anew well before.
FRESH_S = 180 * 24 * 3600.0

_CONNECT_TIMEOUT_S = 1.5
_READ_TIMEOUT_S = 5.0
_CHECK_TIMEOUT_S = 10.0
_BLOCK = 256 * 1024
_INSTEAD = (
    f"install cloudflared yourself (on the PATH, or its path in {BINARY_ENV}), or go on with the local URL"
)


def find_or_fetch(named: str | None, pause: Callable[[float], None]) -> str:
    """The path of a cloudflared program that can be run.

    Args:
        named: path or command that the caller wants; None looks at ``API_HOST_CLOUDFLARED``, the PATH and the
            cache folder, in this order, and fetches one into the cache folder otherwise.
        pause: called while waiting and between blocks; what it raises ends the fetching.

    Raises:
        TunnelFailed: the named program cannot be run, this platform has none, or it cannot be fetched.
    """
    wanted = named or os.environ.get(BINARY_ENV)
    if wanted:
        found = shutil.which(str(Path(wanted).expanduser()))
        if found is None:
            raise TunnelFailed(
                f"the cloudflared that was named is no program that can be run; correct {BINARY_ENV}"
            )
        return found
    return shutil.which("cloudflared") or _cached(pause)


def cache_folder() -> Path:
    """Where fetched programs are kept: ``<the user's cache folder>/api-host/bin``."""
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "api-host" / "bin"


def _cached(pause: Callable[[float], None]) -> str:
    target = cache_folder() / ("cloudflared.exe" if sys.platform == "win32" else "cloudflared")
    try:
        _make_private(target.parent)
        if target.exists() and time.time() - target.stat().st_mtime < FRESH_S:
            return str(target)
        try:
            fetch(release_url(), target, pause)
        except TunnelFailed:
            if not target.exists():
                raise
    except OSError as error:
        raise TunnelFailed(
            f"cloudflared cannot be kept in the cache folder ({error.strerror}); {_INSTEAD}"
        ) from None
    return str(target)


def release_url() -> str:
    """Where this platform's release of cloudflared lies.

    Raises:
        TunnelFailed: there is none.
    """
    system, machine = platform.system(), platform.machine()
    entry = CLOUDFLARED_CONFIG.get((system, machine))
    if entry is None:
        raise TunnelFailed(f"there is no cloudflared to fetch for {system} on {machine}; {_INSTEAD}")
    return str(entry["url"])


def fetch(url: str, target: Path, pause: Callable[[float], None]) -> None:
    """Fetch the program, or the ``.tgz`` with it: ``target`` is whole and runs afterwards, or is as it was.

    Raises:
        TunnelFailed: no network, cut short, or what came does not run.
        OSError: the folder cannot be written to.
    """
    _require_network(url, pause)
    with tempfile.TemporaryDirectory(prefix="fetch-", dir=target.parent) as folder:
        loaded = Path(folder) / "loaded"
        _download(url, loaded, pause)
        program = Path(folder) / target.name
        if url.endswith(".tgz"):
            _unpack(loaded, program)
        else:
            loaded.rename(program)
        program.chmod(0o700)
        _require_runs(program)
        program.replace(target)


def _make_private(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if sys.platform == "win32":
        return
    if folder.stat().st_uid != os.getuid():
        raise TunnelFailed(
            f"the cache folder belongs to another user, who could replace cloudflared; {_INSTEAD}"
        )
    folder.chmod(0o700)


def _require_network(url: str, pause: Callable[[float], None]) -> None:
    if requests.utils.get_environ_proxies(url):
        return
    parts = urllib.parse.urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    if not reach.connects(host, port, _CONNECT_TIMEOUT_S, pause):
        raise diagnosis.no_network(f"cannot fetch cloudflared from {host}")


def _download(url: str, target: Path, pause: Callable[[float], None]) -> None:
    try:
        with (
            requests.get(
                url,
                stream=True,
                timeout=(_CONNECT_TIMEOUT_S, _READ_TIMEOUT_S),
                headers={"Accept-Encoding": "identity"},
            ) as response,
            target.open("wb") as file,
        ):
            response.raise_for_status()
            for block in response.iter_content(_BLOCK):
                pause(0)
                file.write(block)
            expected = response.headers.get("Content-Length")
    except requests.HTTPError as error:
        raise TunnelFailed(
            f"cloudflared cannot be fetched ({error.response.status_code}); {_INSTEAD}"
        ) from None
    except requests.RequestException:
        raise TunnelFailed(
            f"cloudflared was cut short while it was fetched; try again, or {_INSTEAD}"
        ) from None
    if expected is not None and target.stat().st_size != int(expected):
        raise TunnelFailed(f"cloudflared was cut short while it was fetched; try again, or {_INSTEAD}")


def _unpack(archive: Path, program: Path) -> None:
    try:
        with tarfile.open(archive) as files:
            packed: IO[bytes] | None = files.extractfile("cloudflared")
            if packed is None:
                raise KeyError("cloudflared")
            with packed, program.open("wb") as file:
                shutil.copyfileobj(packed, file)
    except (tarfile.TarError, KeyError, EOFError):
        raise TunnelFailed(f"the archive that was fetched holds no cloudflared; {_INSTEAD}") from None


def _require_runs(program: Path) -> None:
    try:
        said = subprocess.run(
            [str(program), "--version"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_CHECK_TIMEOUT_S,
        )
    except (OSError, subprocess.TimeoutExpired):
        said = None
    if said is None or said.returncode != 0 or b"cloudflared" not in said.stdout:
        raise TunnelFailed(f"what was fetched as cloudflared does not run here; {_INSTEAD}")
