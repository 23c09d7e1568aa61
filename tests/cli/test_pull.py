"""``api-host pull``: from a loopback hub, with its bar, its lines, and its ends."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from api_host.cli import exits
from tests.cli.terminal import CTRL_C, Cli, Start, Terminal, assert_one_line_error, interrupt
from tests.fakes.hub import LoopbackHub


@pytest.fixture
def hub() -> Iterator[LoopbackHub]:
    with LoopbackHub() as hub:
        hub.add("owner/tiny-GGUF", "tiny.Q4_K_M.gguf", b"GGUF" + bytes(3_000_000))
        yield hub


def test_pull_fetches_once_tells_how_far_it_is_and_prints_the_path(cli: Cli, hub: LoopbackHub) -> None:
    hub.misbehave("owner/tiny-GGUF", bytes_per_second=2_000_000)
    first = cli("pull", "owner/tiny-GGUF:Q4_K_M", HF_ENDPOINT=hub.url)
    assert first.returncode == 0, first.stderr
    assert Path(first.stdout.strip()).stat().st_size == 3_000_004
    *progress, last = first.stderr.splitlines()
    assert last == "owner/tiny-GGUF:Q4_K_M: 3 MB"
    assert 2 <= len(progress) <= 11 and all(line.startswith("tiny.Q4_K_M.gguf: ") for line in progress)
    assert "\r" not in first.stderr and "\x1b" not in first.stderr
    asked = len(hub.log)
    again = cli("pull", "owner/tiny-GGUF/tiny.Q4_K_M.gguf", HF_ENDPOINT=hub.url)
    assert again.stdout == first.stdout
    assert len(hub.log) == asked
    assert "tiny" in cli("ls").stdout


def test_pull_has_forms_for_scripts(cli: Cli, hub: LoopbackHub) -> None:
    quiet = cli("pull", "--quiet", "owner/tiny-GGUF:Q4_K_M", HF_ENDPOINT=hub.url)
    assert quiet.stderr == "" and quiet.stdout.endswith("tiny.Q4_K_M.gguf\n")
    told = json.loads(cli("pull", "--json", "owner/tiny-GGUF:Q4_K_M", HF_ENDPOINT=hub.url).stdout)
    assert told == {"model": "owner/tiny-GGUF:Q4_K_M", "path": quiet.stdout.strip(), "size": 3_000_004}


def test_a_path_that_the_terminal_cannot_write_is_printed_as_far_as_it_can(
    cli: Cli, hub: LoopbackHub
) -> None:
    latin = {"PYTHONIOENCODING": "latin-1:strict", "HF_ENDPOINT": hub.url}
    done = cli("pull", "--quiet", "owner/tiny-GGUF:Q4_K_M", "--models-dir", "\u4e16", **latin)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.rpartition("/models--owner")[0].endswith("/?")


def test_pull_takes_a_pasted_hub_token_and_refuses_what_is_none(cli: Cli, hub: LoopbackHub) -> None:
    hub.add("owner/gated", "m.Q4_0.gguf", b"GGUF", token="hf_good")
    ask = ("pull", "--quiet", "owner/gated:Q4_0")
    wrong = cli(*ask, HF_ENDPOINT=hub.url, HF_TOKEN="hf_g\u00f6\u00f6d")
    assert_one_line_error(wrong, "HF_TOKEN: printable ASCII", code=exits.USAGE)
    for name in ("API_HOST_HUB_TOKEN", "HF_TOKEN"):
        done = cli(*ask, HF_ENDPOINT=hub.url, HF_HOME=name, **{name: " hf_good\n"})
        assert done.returncode == 0, done.stderr


def test_at_a_terminal_a_bar_shows_bytes_rate_and_time_left(
    terminal: Callable[..., Terminal], hub: LoopbackHub
) -> None:
    hub.misbehave("owner/tiny-GGUF", bytes_per_second=1_000_000)
    shown = terminal("pull", "owner/tiny-GGUF:Q4_K_M", HF_ENDPOINT=hub.url)
    shown.until("B/s", "00:0")
    bar = next(line for line in shown.screen.splitlines() if "tiny.Q4_K_M.gguf" in line)
    assert "%" in bar and "/3.0 MB" in bar and "B/s" in bar
    assert shown.to_the_end() == 0
    bars = [line for line in shown.screen.splitlines() if "B/s" in line]
    assert len(bars) == 1 and "100%" in bars[0]


def test_ctrl_c_leaves_the_terminal_as_it_was(terminal: Callable[..., Terminal], hub: LoopbackHub) -> None:
    hub.misbehave("owner/tiny-GGUF", stall_after=1_000_000)
    shown = terminal("pull", "owner/tiny-GGUF:Q4_K_M", HF_ENDPOINT=hub.url)
    shown.until("tiny.Q4_K_M.gguf")
    shown.type(CTRL_C)
    assert shown.to_the_end() == exits.INTERRUPTED
    assert shown.raw.rfind("\x1b[?25h") > shown.raw.rfind("\x1b[?25l"), "the cursor stays hidden"
    assert "Traceback" not in shown.raw


def test_pull_of_what_is_not_there_is_told_in_one_line(cli: Cli, hub: LoopbackHub) -> None:
    missing = cli("pull", "owner/missing", HF_ENDPOINT=hub.url)
    assert_one_line_error(missing, "owner/missing", code=exits.NOT_FOUND)
    other = cli("pull", "owner/tiny-GGUF:Q8_0", HF_ENDPOINT=hub.url)
    assert_one_line_error(other, "Q8_0", code=exits.NOT_FOUND)
    assert_one_line_error(cli("pull", "../../etc/passwd"), "model", code=exits.USAGE)


def test_a_closed_hub_and_a_full_disk_have_their_own_exit_codes(cli: Cli, hub: LoopbackHub) -> None:
    closed = cli("pull", "--quiet", "owner/tiny-GGUF:Q4_K_M", HF_ENDPOINT="http://127.0.0.1:9")
    assert_one_line_error(closed, code=exits.UNREACHABLE)
    full = cli("pull", "-q", "owner/tiny-GGUF:Q4_K_M", HF_ENDPOINT=hub.url, API_HOST_DISK_RESERVE=str(10**18))
    assert_one_line_error(full, code=exits.NO_ROOM)


def test_ctrl_c_in_a_pull_ends_the_download_without_a_traceback(start: Start, hub: LoopbackHub) -> None:
    hub.misbehave("owner/tiny-GGUF", stall_after=1_000_000)
    process = start("pull", "owner/tiny-GGUF:Q4_K_M", HF_ENDPOINT=hub.url)
    assert process.stderr is not None
    assert b"tiny" in os.read(process.stderr.fileno(), 200)
    code, err = interrupt(process)
    assert code == 130
    assert "Traceback" not in err
