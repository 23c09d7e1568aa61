"""``api-host chat``: a conversation through a pipe, with a local model and with a host elsewhere."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from api_host.cli import exits
from api_host.models.demo import DEMO_MODEL_PATH
from tests.cli.terminal import (
    TIMEOUT_S,
    Cli,
    Start,
    assert_one_line_error,
    interrupt,
    listening_at,
    press_until_it_ends,
    serving_url,
)


def test_chat_answers_piped_questions_on_stdout_alone(cli: Cli) -> None:
    done = cli("chat", "demo", "--temperature", "0", stdin="What is the capital of France?\nAnd of Italy?\n")
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.strip().splitlines()
    assert "Paris" in first and "Rome" in second
    assert done.stderr == ""


def test_chat_answers_in_json_lines_for_scripts(cli: Cli) -> None:
    done = cli(
        "chat",
        "demo",
        "--json",
        "--temperature",
        "0",
        stdin="What is the capital of France?\n/reset\nHello\n",
    )
    assert done.returncode == 0, done.stderr
    first, second = map(json.loads, done.stdout.splitlines())
    assert "Paris" in first["answer"] and first["finish_reason"] == "stop"
    assert first["usage"]["completion_tokens"] > 0 and first["timings"]["tokens_per_second"] > 0
    assert second["model"] == "demo"


def test_chat_forgets_the_turns_on_reset_and_stops_at_exit(cli: Cli) -> None:
    lines = ["What is the capital of France?", "/reset", "/exit", "What is the capital of Spain?"]
    done = cli("chat", "demo", "--temperature", "0", stdin="\n".join(lines))
    assert done.returncode == 0, done.stderr
    assert "Paris" in done.stdout and "Madrid" not in done.stdout


def test_chat_obeys_a_system_prompt_given_either_way(cli: Cli) -> None:
    question = "What is the capital of France?"
    typed = cli("chat", "demo", "--temperature", "0", stdin=f"/system Answer in capitals.\n{question}")
    assert "PARIS" in typed.stdout, typed.stderr
    given = cli("chat", "demo", "--temperature", "0", "--system", "Answer in capitals.", stdin=question)
    assert given.stdout == typed.stdout


def test_a_command_that_needs_a_terminal_is_refused_in_a_pipe(cli: Cli) -> None:
    done = cli("chat", "demo", stdin="/save chat.json\n")
    assert done.returncode == exits.USAGE and "/save" in done.stderr


def test_chat_talks_to_a_host_elsewhere(start: Start, cli: Cli) -> None:
    token = "my-long-secret"
    host = start("serve", "--model", "demo", "--no-tunnel", "--port", "0", API_HOST_TOKEN=token)
    url = serving_url(host)
    question = "What is the capital of France?"
    done = cli("chat", "--url", url, "--temperature", "0", stdin=question, API_HOST_TOKEN=token)
    assert "Paris" in done.stdout, done.stderr
    refused = cli("chat", "--url", url, "--token", "a-wrong-secret", stdin=question)
    assert_one_line_error(refused, "token", code=exits.REFUSED)
    interrupt(host)


def test_the_host_of_a_chat_listens_to_this_machine_alone(start: Start) -> None:
    process = start("chat", "demo", API_HOST_ADDRESS="0.0.0.0", API_HOST_USE_TOKEN="0")
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write("Hello\n")
    process.stdin.flush()
    assert process.stdout.readline()
    assert listening_at(process) == {"127.0.0.1"}


def test_a_chat_looks_for_the_configured_model_where_models_dir_says(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("model_name: mine\n")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "mine.gguf").write_bytes(DEMO_MODEL_PATH.read_bytes())
    done = cli("chat", "--models-dir", "models", "--json", stdin="Hello\n")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["model"] == "mine.gguf"


@pytest.mark.parametrize("command", [["chat", "demo", "--temperature", "0"], ["demo", "--quiet"]])
def test_what_belongs_to_the_configured_model_has_no_part_in_another(
    cli: Cli, tmp_path: Path, command: list[str]
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("model: big.gguf\ndraft_model: small.gguf\nlora: [adapter.gguf]\n")
    done = cli(*command, stdin="What is the capital of France?\n")
    assert done.stdout.startswith("The capital of France is Paris."), done.stderr
    config.write_text("model: demo\nlora: [adapter.gguf]\n")
    named = cli("chat", "demo", stdin="Hello\n")
    assert_one_line_error(named, "adapter.gguf", code=exits.NOT_FOUND)


def test_a_question_that_is_no_text_is_asked_all_the_same(start: Start) -> None:
    process = start("chat", "demo", PYTHONIOENCODING="utf-8:strict")
    assert process.stdin is not None
    process.stdin.buffer.write(b"caf\xe9\n")
    out, err = process.communicate(timeout=TIMEOUT_S)
    assert (process.returncode, err) == (0, "")
    assert out.strip()


def test_ctrl_c_while_chat_waits_for_a_line_leaves_no_traceback(start: Start) -> None:
    process = start("chat", "demo", "--temperature", "0")
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write("What is the capital of France?\n")
    process.stdin.flush()
    assert "Paris" in process.stdout.readline()
    assert press_until_it_ends(process) == exits.INTERRUPTED
    assert process.stderr is not None
    assert "Traceback" not in process.stderr.read()


def test_chat_with_an_unreachable_host_is_told_in_one_line(cli: Cli) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    done = cli("chat", "--url", f"http://127.0.0.1:{port}", stdin="Hello")
    assert_one_line_error(done, code=exits.UNREACHABLE)


def test_chat_with_a_model_that_is_nowhere_is_told_in_one_line(cli: Cli) -> None:
    done = cli("chat", "nowhere.gguf", stdin="Hello")
    assert_one_line_error(done, "nowhere.gguf", code=exits.NOT_FOUND)
