"""``api-host ls``, ``rm`` and ``pull``: the models on this disk, and those of a loopback hub."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.terminal import Cli, Start, assert_one_line_error, interrupt
from tests.fakes.hub import LoopbackHub


def test_ls_and_rm_know_the_models_below_the_folder(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "mine.gguf").write_bytes(b"GGUF" + bytes(1_499_996))
    folder = ["--models-dir", str(tmp_path / "models")]
    table = cli("ls", *folder).stdout.splitlines()
    assert table[0].split() == ["MODEL", "SIZE", "LAST", "USED"]
    assert table[1].split()[:3] == ["mine.gguf", "1.5", "MB"]
    (entry,) = json.loads(cli("ls", "--json", *folder).stdout)
    assert (entry["model"], entry["size"]) == ("mine.gguf", 1_500_000)
    removed = cli("rm", "mine.gguf", *folder)
    assert removed.returncode == 0 and "1.5 MB" in removed.stdout
    assert not (tmp_path / "models" / "mine.gguf").exists()
    assert_one_line_error(cli("rm", "mine.gguf", *folder), "mine.gguf")


def test_ls_of_nothing_says_how_to_fetch_and_keeps_stdout_clean(cli: Cli, tmp_path: Path) -> None:
    done = cli("ls", "--models-dir", str(tmp_path / "none"))
    assert (done.returncode, done.stdout) == (0, "")
    assert "api-host pull" in done.stderr
    assert json.loads(cli("ls", "--json", "--models-dir", str(tmp_path / "none")).stdout) == []


def test_a_name_that_no_model_has_is_refused(cli: Cli) -> None:
    assert_one_line_error(cli("rm", "../../etc/passwd"), "model")
    assert_one_line_error(cli("pull", "../../etc/passwd"), "model")


@pytest.fixture
def hub() -> Iterator[LoopbackHub]:
    with LoopbackHub() as hub:
        hub.add("owner/tiny-GGUF", "tiny.Q4_K_M.gguf", b"GGUF" + bytes(3_000_000))
        yield hub


def test_pull_fetches_once_shows_a_bar_and_prints_the_path(cli: Cli, hub: LoopbackHub) -> None:
    first = cli("pull", "owner/tiny-GGUF:Q4_K_M", HF_ENDPOINT=hub.url)
    assert first.returncode == 0, first.stderr
    assert Path(first.stdout.strip()).stat().st_size == 3_000_004
    assert "tiny.Q4_K_M.gguf" in first.stderr and "3 MB" in first.stderr
    asked = len(hub.log)
    again = cli("pull", "owner/tiny-GGUF/tiny.Q4_K_M.gguf", HF_ENDPOINT=hub.url)
    assert again.stdout == first.stdout
    assert len(hub.log) == asked
    assert "tiny" in cli("ls").stdout


def test_pull_of_what_is_not_there_is_told_in_one_line(cli: Cli, hub: LoopbackHub) -> None:
    assert_one_line_error(cli("pull", "owner/missing", HF_ENDPOINT=hub.url), "owner/missing")
    done = cli("pull", "owner/tiny-GGUF:Q8_0", HF_ENDPOINT=hub.url)
    assert_one_line_error(done, "Q8_0")


def test_ctrl_c_in_a_pull_ends_the_download_without_a_traceback(start: Start, hub: LoopbackHub) -> None:
    hub.misbehave("owner/tiny-GGUF", stall_after=1_000_000)
    process = start("pull", "owner/tiny-GGUF:Q4_K_M", HF_ENDPOINT=hub.url)
    assert process.stderr is not None
    assert b"tiny" in os.read(process.stderr.fileno(), 200)
    code, err = interrupt(process)
    assert code == 130
    assert "Traceback" not in err
