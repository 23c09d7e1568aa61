"""Downloads that go wrong: stalls, cuts, wrong checksums, and each of the hub's refusals by its own error."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from api_host import errors
from api_host.models.hub.hub import Hub, Progress
from api_host.models.hub.transfer import redacted
from api_host.models.reference import parse_reference
from tests.fakes.edge import Edge, whole
from tests.fakes.hub import LoopbackHub
from tests.fakes.processes import running

DATA = os.urandom(1_500_000)
REPO = "owner/name-GGUF"
REF = parse_reference(f"{REPO}/m.Q4_K_M.gguf")


@pytest.fixture
def loopback() -> Iterator[LoopbackHub]:
    with LoopbackHub() as hub:
        hub.add(REPO, "m.Q4_K_M.gguf", DATA)
        yield hub
    assert not [one for one in threading.enumerate() if one.name in ("model-download", "download")]


@pytest.fixture
def hub(loopback: LoopbackHub, tmp_path: Path) -> Hub:
    return Hub(tmp_path, token="hf_secret", stall_timeout=20.0, disk_reserve=0, endpoint=loopback.url)


def download_children() -> list[psutil.Process]:
    return running("api_host.models.hub.download")


def refusal(hub: Hub, reference: str = REF.name) -> errors.ApiHostError:
    with pytest.raises(errors.ApiHostError) as raised:
        hub.fetch(parse_reference(reference))
    assert "hf_secret" not in str(raised.value.to_dict())
    assert str(hub.cache.folder) not in str(raised.value.to_dict())
    return raised.value


def test_a_stalled_download_is_resumed_without_xet_from_where_it_was(hub: Hub, loopback: LoopbackHub) -> None:
    hub._stall_timeout = 2.0
    loopback.misbehave(REPO, stall_after=700_000, times=2)
    settings: dict[int, str | None] = {}

    def look(progress: Progress) -> None:
        if progress.resumed < 2 and progress.resumed not in settings:  # the third one does not stall
            settings[progress.resumed] = download_children()[0].environ().get("HF_HUB_DISABLE_XET")

    assert hub.fetch(REF, look).read_bytes() == DATA
    assert settings[0] is None and settings[1] == "1"
    assert loopback.ranges[0] == "bytes=524288-"


def test_a_download_that_never_moves_again_is_given_up_after_three_stalls(
    hub: Hub, loopback: LoopbackHub
) -> None:
    hub._stall_timeout = 1.5
    loopback.misbehave(REPO, stall_after=0)
    error = refusal(hub)
    assert isinstance(error, errors.DownloadStalled) and error.status == 504
    assert [method for method, _ in loopback.requests].count("GET") == 3
    loopback.behave()
    assert hub.fetch(REF).read_bytes() == DATA


def test_a_cut_connection_is_taken_up_where_it_was_cut(hub: Hub, loopback: LoopbackHub) -> None:
    loopback.misbehave(REPO, cut_after=600_000, times=2)
    assert hub.fetch(REF).read_bytes() == DATA
    assert len(loopback.ranges) == 2


def test_a_reset_connection_loses_nothing_that_has_arrived(hub: Hub, loopback: LoopbackHub) -> None:
    loopback.misbehave(REPO, cut_after=900_000, reset=True, bytes_per_second=900_000, times=1)
    moved: list[Progress] = []
    blob = hub.fetch(REF, moved.append).resolve()
    assert blob.read_bytes() == DATA
    assert loopback.ranges and int(loopback.ranges[0][len("bytes=") : -1]) >= 500_000
    assert max(progress.resumed for progress in moved) == 1
    assert [path.name for path in blob.parent.iterdir()] == [blob.name]


def test_a_wrong_checksum_leaves_nothing_in_the_cache(hub: Hub, loopback: LoopbackHub) -> None:
    loopback.misbehave(REPO, wrong_checksum=True)
    error = refusal(hub)
    assert isinstance(error, errors.ChecksumMismatch) and error.status == 502
    assert hub.locate(REF) is None
    assert not [path for path in hub.cache.folder.rglob("*") if path.is_file() and path.stat().st_size > 1000]
    loopback.behave()
    assert hub.fetch(REF).read_bytes() == DATA


def test_a_file_whose_checksum_was_never_compared_does_not_count_as_cached(
    hub: Hub, loopback: LoopbackHub
) -> None:
    blob = hub.fetch(REF).resolve()
    mark = blob.with_name(blob.name + ".unverified")
    mark.touch()
    assert hub.locate(REF) is None
    loopback.log.clear()
    hub.fetch(REF)
    assert not mark.exists() and "GET" not in [method for method, _ in loopback.requests]
    blob.write_bytes(DATA[::-1])
    mark.touch()
    assert isinstance(refusal(hub), errors.ChecksumMismatch)
    assert hub.fetch(REF).read_bytes() == DATA


def test_a_leftover_that_does_not_fit_is_replaced_by_a_whole_download(
    hub: Hub, loopback: LoopbackHub
) -> None:
    blob = hub.fetch(REF).resolve()
    hub.cache.remove(REF)
    blob.parent.mkdir(parents=True, exist_ok=True)
    blob.with_name(f"{blob.name}.12345678.incomplete").write_bytes(b"wrong" * 1000)
    assert hub.fetch(REF).read_bytes() == DATA
    assert loopback.ranges == ["bytes=5000-"]
    assert not list(blob.parent.glob("*.incomplete"))


def test_a_file_that_is_not_there_lists_the_models_that_are(hub: Hub, loopback: LoopbackHub) -> None:
    loopback.add(REPO, "README.md", b"read me")
    for reference in (f"{REPO}/other.gguf", f"{REPO}:Q2_K", f"{REPO}/m-00001-of-00002.gguf"):
        error = refusal(hub, reference)
        assert isinstance(error, errors.ModelFileNotFound) and error.status == 404
        assert error.details["available"] == ["m.Q4_K_M.gguf"]
        assert "m.Q4_K_M.gguf" in error.message


REFUSALS: list[tuple[dict[str, Any], type[errors.ApiHostError], int]] = [
    ({"status": 403, "error_code": "GatedRepo", "message": "Access is restricted"}, errors.GatedRepo, 403),
    ({"status": 404, "error_code": "RepoNotFound", "message": "not found"}, errors.RepoNotFound, 404),
    (
        {"status": 401, "error_code": "RepoNotFound", "message": "Invalid username or password."},
        errors.RepoNotFound,
        404,
    ),
    ({"status": 401, "message": "Invalid credentials in Authorization header"}, errors.HubTokenRejected, 403),
    ({"status": 401, "message": 'User Access Token "x" is expired'}, errors.HubTokenRejected, 403),
    ({"status": 403, "message": "Forbidden"}, errors.HubTokenRejected, 403),
    ({"status": 429, "retry_after": 17}, errors.HubRateLimited, 429),
    ({"status": 503}, errors.HubUnreachable, 503),
]


@pytest.mark.parametrize(("how", "kind", "status"), REFUSALS)
def test_each_refusal_of_the_hub_is_an_error_of_its_own(
    hub: Hub, loopback: LoopbackHub, how: dict[str, Any], kind: type[errors.ApiHostError], status: int
) -> None:
    loopback.misbehave(REPO, **how)
    error = refusal(hub)
    assert type(error) is kind and error.status == status
    assert len(loopback.requests) == 1
    if kind is errors.GatedRepo:
        assert error.details["accept_at"] == f"{loopback.url}/{REPO}"
    if kind is errors.HubRateLimited:
        assert error.retry_after == 17


def test_a_refused_listing_is_told_like_a_refused_file(hub: Hub, loopback: LoopbackHub) -> None:
    loopback.misbehave(REPO, status=429, retry_after=8, times=1)
    error = refusal(hub, f"{REPO}:Q4_K_M")
    assert isinstance(error, errors.HubRateLimited) and error.retry_after == 8
    loopback.misbehave(REPO, status=403, error_code="GatedRepo")
    assert isinstance(refusal(hub, REPO), errors.GatedRepo)


def test_a_repository_that_nobody_published_is_not_found(hub: Hub) -> None:
    assert isinstance(refusal(hub, "owner/missing"), errors.RepoNotFound)


def test_a_private_repository_opens_to_the_right_token_which_no_command_line_shows(
    hub: Hub, loopback: LoopbackHub
) -> None:
    loopback.add("owner/private", "m.gguf", DATA, token="hf_secret")
    loopback.misbehave("owner/private", bytes_per_second=1_000_000)
    commands: list[str] = []

    def look(progress: Progress) -> None:
        for child in download_children():
            with contextlib.suppress(psutil.NoSuchProcess):
                commands.extend(child.cmdline())

    hub.fetch(parse_reference("owner/private/m.gguf"), look)
    assert commands and "hf_secret" not in " ".join(commands)
    stranger = Hub(hub.cache.models_dir, token="hf_wrong", disk_reserve=0, endpoint=loopback.url)
    hub.cache.remove(parse_reference("owner/private"))
    assert isinstance(refusal(stranger, "owner/private/m.gguf"), errors.HubTokenRejected)


def test_a_file_of_the_hub_that_no_reference_can_name_is_passed_over(hub: Hub, loopback: LoopbackHub) -> None:
    for name in ("x\x1b]0;OWNED\x07-Q4_0.gguf", "../../x-Q4_0.gguf"):
        loopback.add("owner/odd", name, b"GGUF")
    loopback.add("owner/odd", "plain-Q8_0.gguf", b"GGUF")
    error = refusal(hub, "owner/odd:Q4_0")
    assert isinstance(error, errors.ModelFileNotFound) and error.details["available"] == ["plain-Q8_0.gguf"]


@pytest.mark.parametrize("asked", ["owner/name", "owner/name:Q4_0", "owner/name/m.gguf"])
@pytest.mark.parametrize(
    "page", [b"<html>Log in to the Wi-Fi</html>", b'{"error": 1}', b'["a", {"type": "file"}]']
)
def test_a_page_in_the_place_of_the_hub_is_told(tmp_path: Path, asked: str, page: bytes) -> None:
    with Edge() as wifi:
        wifi.answers(*[whole(page)] * 3)
        error = refusal(Hub(tmp_path, endpoint=wifi.url), asked)
    assert isinstance(error, errors.DownloadFailed) and "does not answer like a hub" in error.message


def test_a_disk_that_is_too_small_is_noticed_before_the_download(hub: Hub, loopback: LoopbackHub) -> None:
    hub._disk_reserve = 10**18
    error = refusal(hub)
    assert isinstance(error, errors.DiskFull) and error.status == 507
    assert error.details["needed"] == len(DATA) + 10**18 and error.details["free"] > 0
    assert [method for method, _ in loopback.requests] == ["HEAD"]


def test_no_network_is_told_within_seconds(tmp_path: Path) -> None:
    with socket.socket() as deaf:  # it holds the port and does not listen
        deaf.bind(("127.0.0.1", 0))
        error = refusal(Hub(tmp_path, endpoint=f"http://127.0.0.1:{deaf.getsockname()[1]}"))
    assert isinstance(error, errors.HubUnreachable) and error.status == 503


def test_a_hub_library_that_is_set_offline_is_told_as_such(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    error = refusal(hub)
    assert isinstance(error, errors.HubUnreachable) and "HF_HUB_OFFLINE" in error.message


def test_a_child_that_is_killed_is_told_with_its_exit_code(hub: Hub, loopback: LoopbackHub) -> None:
    def kill(progress: Progress) -> None:
        for child in download_children():
            with contextlib.suppress(psutil.NoSuchProcess):  # it is killed already
                child.kill()

    loopback.misbehave(REPO, stall_after=1000)
    with pytest.raises(errors.DownloadFailed, match="exit code -9"):
        hub.fetch(REF, kill)


def test_a_child_that_cannot_start_is_told_with_the_end_of_what_it_printed(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    text = f"raise RuntimeError('no library in {broken}/lib.so for hf_secret')"
    (broken / "huggingface_hub.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(broken))
    error = refusal(hub)
    assert isinstance(error, errors.DownloadFailed)
    assert "no library in lib.so for ***" in error.message and "RuntimeError" in error.details["stderr"]


def test_what_a_library_prints_as_it_is_imported_is_no_message(
    hub: Hub, loopback: LoopbackHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    printing = tmp_path / "printing"
    printing.mkdir()
    # Every process imports it as it begins, when it lies on the path.
    (printing / "sitecustomize.py").write_text('print("imported", flush=True)\n')
    monkeypatch.setenv("PYTHONPATH", str(printing))
    assert hub.fetch(REF).read_bytes() == DATA


def test_paths_and_tokens_are_taken_out_of_what_a_child_printed() -> None:
    text = 'File "/home/me/x/y.py", line 3: token my-own and hf_AbCdEfGhIjKlMnOpQrSt1 in /tmp/z/hf_hub.py'
    assert redacted(text, "my-own") == 'File "y.py", line 3: token *** and *** in hf_hub.py'


def test_a_folder_that_cannot_be_written_is_told_as_such(loopback: LoopbackHub, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    error = refusal(Hub(tmp_path / "file", disk_reserve=0, endpoint=loopback.url))
    assert isinstance(error, errors.DownloadFailed) and "models folder" in error.message
