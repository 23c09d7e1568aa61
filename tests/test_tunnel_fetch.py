"""Finding cloudflared, and fetching it from a loopback server that may cut, refuse or serve something else."""

from __future__ import annotations

import io
import os
import stat
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from api_host.tunnel import Tunnel, TunnelFailed, binary
from api_host.tunnel.wakeup import Stopped, Wakeup
from tests.fakes.cloudflared import install


class Release(ThreadingHTTPServer):
    """Serves ``body``, of which it sends ``sent`` bytes (None: all), with ``status``."""

    daemon_threads = True

    def __init__(self, body: bytes) -> None:
        super().__init__(("127.0.0.1", 0), ReleaseRequest)
        self.body, self.sent, self.status = body, len(body), 200
        self.asked = 0

    def url(self, name: str = "cloudflared-linux-amd64") -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{name}"


class ReleaseRequest(BaseHTTPRequestHandler):
    server: Release

    def do_GET(self) -> None:
        self.server.asked += 1
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body[: self.server.sent])

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def release(tmp_path: Path) -> Iterator[Release]:
    server = Release(install(tmp_path, "original").read_bytes())
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, release: Release) -> Path:
    """An empty cache folder, on a machine without cloudflared whose release is the loopback one."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(binary.BINARY_ENV, raising=False)
    monkeypatch.setattr(binary.shutil, "which", lambda name: None)
    monkeypatch.setattr(binary, "release_url", release.url)
    return tmp_path / "cache" / "api-host" / "bin"


def find() -> str:
    return binary.find_or_fetch(None, Wakeup().pause)


def reason_of_failure() -> str:
    with pytest.raises(TunnelFailed) as caught:
        find()
    assert "\n" not in caught.value.message
    return caught.value.message


def test_the_program_is_fetched_once_into_a_private_folder(cache: Path, release: Release) -> None:
    found = Path(find())
    assert found == cache / "cloudflared"
    assert found.read_bytes() == release.body
    assert stat.S_IMODE(found.stat().st_mode) == 0o700
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700
    assert find() == str(found)
    assert release.asked == 1


def test_a_folder_that_others_could_write_to_is_made_private(cache: Path) -> None:
    cache.mkdir(parents=True)
    cache.chmod(0o777)
    find()
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700


@pytest.mark.skipif(sys.platform == "win32" or os.getuid() != 0, reason="gives a folder to another user")
def test_a_program_in_a_folder_of_another_user_is_not_run(cache: Path) -> None:
    find()
    os.chown(cache, 12345, 12345)
    assert "belongs to another user" in reason_of_failure()


def test_a_packed_program_is_unpacked(cache: Path, release: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    program, packed = release.body, io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as files:
        member = tarfile.TarInfo("cloudflared")
        member.size = len(program)
        files.addfile(member, io.BytesIO(program))
    release.body = packed.getvalue()
    release.sent = len(release.body)
    monkeypatch.setattr(binary, "release_url", lambda: release.url("cloudflared-darwin-arm64.tgz"))
    assert Path(find()).read_bytes() == program


def test_a_download_that_is_cut_leaves_nothing(cache: Path, release: Release) -> None:
    release.sent //= 2
    assert "cut short" in reason_of_failure()
    assert list(cache.iterdir()) == []


def test_a_page_instead_of_the_program_is_not_kept(cache: Path, release: Release) -> None:
    release.body = b"<html>log in to this network first</html>"
    assert "does not run" in reason_of_failure()
    assert list(cache.iterdir()) == []


def test_a_release_that_is_not_there_is_told_with_its_status(cache: Path, release: Release) -> None:
    release.status = 404
    assert "404" in reason_of_failure()
    assert list(cache.iterdir()) == []


def test_an_old_copy_is_fetched_anew_and_kept_where_that_fails(
    cache: Path, release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = Path(find())
    monkeypatch.setattr(binary, "FRESH_S", -1.0)
    release.status = 503
    assert find() == str(old)
    release.status, release.body = 200, release.body + b"# newer\n"
    release.sent = len(release.body)
    assert Path(find()).read_bytes() == release.body


def test_without_a_network_the_tunnel_says_so_soon(cache: Path, release: Release) -> None:
    release.server_close()
    began = time.monotonic()
    with pytest.raises(TunnelFailed, match="no network: cannot fetch cloudflared"):
        Tunnel("http://127.0.0.1:1", on_url=print, on_problem=print).start()
    assert time.monotonic() - began < 10.0


def test_a_stop_ends_the_fetching_and_leaves_nothing(cache: Path) -> None:
    wakeup = Wakeup()
    wakeup.stop()
    with pytest.raises(Stopped):
        binary.find_or_fetch(None, wakeup.pause)
    assert list(cache.iterdir()) == []


def test_a_program_that_is_named_is_taken_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named, on_path = install(tmp_path, "mine"), install(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv(binary.BINARY_ENV, raising=False)
    assert find() == str(on_path)
    monkeypatch.setenv(binary.BINARY_ENV, str(named))
    assert find() == str(named)
    assert binary.find_or_fetch(str(on_path), Wakeup().pause) == str(on_path)


def test_a_named_program_that_is_not_there_is_no_reason_to_fetch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(binary.BINARY_ENV, "/nowhere/cloudflared")
    assert binary.BINARY_ENV in reason_of_failure()


def test_a_platform_without_a_release_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binary.platform, "machine", lambda: "s390x")
    with pytest.raises(TunnelFailed, match="s390x"):
        binary.release_url()
