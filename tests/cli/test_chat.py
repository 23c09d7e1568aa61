"""``api-host chat``: a conversation through a pipe, with a local model and with a host elsewhere."""

from __future__ import annotations

import contextlib
import os
import pty
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.terminal import (
    TIMEOUT_S,
    Cli,
    Start,
    assert_one_line_error,
    interrupt,
    press_until_it_ends,
    serving_url,
)


def test_chat_answers_piped_questions_on_stdout_alone(cli: Cli) -> None:
    done = cli("chat", "demo", "--temperature", "0", stdin="What is the capital of France?\nAnd of Italy?\n")
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.strip().splitlines()
    assert "Paris" in first and "Rome" in second


def test_chat_forgets_the_turns_on_reset_and_stops_at_exit(cli: Cli) -> None:
    lines = ["What is the capital of France?", "/reset", "/exit", "What is the capital of Spain?"]
    done = cli("chat", "demo", "--temperature", "0", stdin="\n".join(lines))
    assert done.returncode == 0, done.stderr
    assert "Paris" in done.stdout and "Madrid" not in done.stdout


def test_chat_obeys_a_system_prompt(cli: Cli) -> None:
    lines = ["/system Answer in capitals.", "What is the capital of France?"]
    done = cli("chat", "demo", "--temperature", "0", stdin="\n".join(lines))
    assert "PARIS" in done.stdout, done.stderr


def test_chat_talks_to_a_host_elsewhere(start: Start, cli: Cli) -> None:
    token = "my-long-secret"
    host = start("serve", "--model", "demo", "--no-tunnel", "--port", "0", API_HOST_TOKEN=token)
    url = serving_url(host)
    question = "What is the capital of France?"
    done = cli("chat", "--url", url, "--temperature", "0", stdin=question, API_HOST_TOKEN=token)
    assert "Paris" in done.stdout, done.stderr
    assert_one_line_error(cli("chat", "--url", url, "--token", "a-wrong-secret", stdin=question), "token")
    interrupt(host)


def test_ctrl_c_while_chat_waits_for_a_line_leaves_no_traceback(start: Start) -> None:
    process = start("chat", "demo", "--temperature", "0")
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write("What is the capital of France?\n")
    process.stdin.flush()
    assert "Paris" in process.stdout.readline()
    assert press_until_it_ends(process) in (0, 130)
    assert process.stderr is not None
    assert "Traceback" not in process.stderr.read()


def test_chat_with_an_unreachable_host_is_told_in_one_line(cli: Cli) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert_one_line_error(cli("chat", "--url", f"http://127.0.0.1:{port}", stdin="Hello"))


def test_chat_with_a_model_that_is_nowhere_is_told_in_one_line(cli: Cli) -> None:
    assert_one_line_error(cli("chat", "nowhere.gguf", stdin="Hello"), "nowhere.gguf")


@pytest.mark.parametrize("ending", ["ctrl-d", "ctrl-c"])
def test_chat_at_a_terminal_prompts_answers_and_ends(
    environment: dict[str, str], tmp_path: Path, ending: str
) -> None:
    terminal, inside = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "api_host.cli", "chat", "demo", "--temperature", "0"],
        stdin=inside,
        stdout=inside,
        stderr=inside,
        cwd=tmp_path,
        env=environment,
    )
    os.close(inside)
    shown = read_until(terminal, b"> ")
    assert b"/exit" in shown
    os.write(terminal, b"What is the capital of France?\n")
    assert b"Paris" in read_until(terminal, b"tokens per second", b"> ")
    if ending == "ctrl-d":
        os.write(terminal, b"\x04")
    else:
        press_until_it_ends(process)
    rest = read_to_the_end(terminal)
    assert process.wait(TIMEOUT_S) in (0, 130)
    assert b"Traceback" not in rest
    os.close(terminal)


def read_until(terminal: int, *marks: bytes) -> bytes:
    """What a terminal shows up to all ``marks``, one after the other."""
    shown, searched = b"", 0
    for mark in marks:
        while (found := shown.find(mark, searched)) < 0:
            shown += os.read(terminal, 4096)
        searched = found + len(mark)
    return shown


def read_to_the_end(terminal: int) -> bytes:
    """What is still shown until nobody holds the terminal open, which Linux tells as an error."""
    shown = b""
    with contextlib.suppress(OSError):
        while received := os.read(terminal, 4096):
            shown += received
    return shown
