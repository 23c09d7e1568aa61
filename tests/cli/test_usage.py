"""The console script's help, what it says to wrong arguments, its exit codes, and how soon it answers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from api_host import errors
from api_host.cli import exits
from api_host.cli.root import COMMANDS
from api_host_client import errors as client_errors
from tests.cli.terminal import Cli, assert_one_line_error


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_every_command_explains_itself(cli: Cli, command: str) -> None:
    done = cli(*command.split(), "--help")
    assert done.returncode == 0, done.stderr
    assert f"Usage: api-host {command}".strip() in done.stdout
    assert "Examples:" in done.stdout


def test_the_help_lists_the_commands_without_importing_one(cli: Cli) -> None:
    shown = cli("--help").stdout
    for name, (_, summary) in COMMANDS.items():
        assert f"{name} " in shown and summary in shown
    code = "import sys\nfrom api_host.cli import main\ntry:\n    main(['--help'])\nfinally:\n    print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "click" in loaded
    assert (
        loaded & {"flask", "pydantic", "requests", "rich", "huggingface_hub", "psutil", "api_host.host"}
        == set()
    )


def test_it_tells_its_version(cli: Cli) -> None:
    done = cli("--version")
    assert done.returncode == 0 and done.stdout.startswith("api-host, version ")


def test_the_help_shows_the_defaults_of_the_configuration(cli: Cli) -> None:
    shown = " ".join(cli("serve", "--help").stdout.split())
    assert "[default: 5000]" in shown and "[default: 4096]" in shown
    assert "--draft-model REF" in shown and "1 to 16. [default: 8]" in shown
    assert "API_HOST_TOKEN" in shown


@pytest.mark.parametrize(
    "arguments",
    [
        ["serve", "--port", "many"],
        ["serve", "--parallel", "some"],
        ["serve", "--token", "long-enough", "--no-token"],
        ["serve", "--plain", "--json"],
        ["chat", "demo", "--token", "long-enough"],
        ["chat", "--url", "ftp://nowhere"],
        ["pull"],
        ["rm"],
        ["fly"],
    ],
)
def test_wrong_usage_ends_with_2_and_says_what_is_wrong(cli: Cli, arguments: list[str]) -> None:
    done = cli(*arguments)
    assert done.returncode == exits.USAGE
    assert "Error: " in done.stderr and "Traceback" not in done.stderr


def test_a_setting_out_of_range_is_told_in_one_line(cli: Cli) -> None:
    assert_one_line_error(cli("serve", "--no-tunnel", "--port", "70000"), "port", "65535", code=exits.USAGE)
    wrong = cli("serve", "--no-tunnel", API_HOST_CTX_LENGTH="tiny")
    assert_one_line_error(wrong, "ctx_length", code=exits.USAGE)


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("PARALLEL", "0", "parallel: Input should be greater than or equal to 1"),
        ("TENSOR_SPLIT", '["a"]', "tensor_split.0: Input should be a valid number"),
        ("TOKEN", "short", "token: 8 to 512 printable ASCII"),
        ("CONFIG_FILE", "wrong.yaml", "modle: there is no such setting; did you mean 'model'?"),
    ],
)
def test_a_wrong_setting_is_told_by_its_name_without_the_names_of_types(
    cli: Cli, tmp_path: Path, variable: str, value: str, told: str
) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("modle: demo")
    value = str(wrong) if value == wrong.name else value
    done = cli("serve", "--no-tunnel", **{f"API_HOST_{variable}": value})
    assert done.returncode == exits.USAGE and done.stderr.startswith(f"Error: {told}")


def test_a_short_token_is_refused_without_being_repeated(cli: Cli) -> None:
    done = cli("serve", "--no-tunnel", API_HOST_TOKEN="abc123")
    assert_one_line_error(done, "token", code=exits.USAGE)
    assert "abc123" not in done.stderr


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.InvalidRequest("model: wrong"), exits.USAGE),
        (errors.RepoNotFound("nowhere"), exits.NOT_FOUND),
        (client_errors.ModelFileNotFound("nowhere", status=404, code="file_not_found"), exits.NOT_FOUND),
        (errors.GatedRepo("accept it"), exits.REFUSED),
        (client_errors.WrongToken("wrong", status=403, code="wrong_token"), exits.REFUSED),
        (client_errors.AccessDenied("blocked", status=403), exits.REFUSED),
        (errors.HubUnreachable("no network"), exits.UNREACHABLE),
        (client_errors.ConnectionRefused("nobody there"), exits.UNREACHABLE),
        (client_errors.TunnelGone("gone", status=530), exits.UNREACHABLE),
        (errors.DiskFull("full"), exits.NO_ROOM),
        (client_errors.QueueFull("full", status=429, code="queue_full"), exits.BUSY),
        (client_errors.TooManyRequests("slow down", status=429), exits.BUSY),
        (errors.ModelLoadFailed("no GGUF"), exits.FAILED),
        (client_errors.StreamCut("cut"), exits.FAILED),
        (PermissionError(13, "Permission denied"), exits.FAILED),
        (RuntimeError("a fault of ours"), None),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_an_exit_code_says_what_kind_of_error_it_was(error: Exception, code: int | None) -> None:
    assert exits.exit_code_of(error) == code


def test_an_error_cannot_steer_the_terminal(cli: Cli) -> None:
    done = cli("pull", "\x1b[2Jname")
    assert_one_line_error(done, "not the name of a model", code=exits.USAGE)
    assert "\x1b" not in done.stderr


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("ls --models-dir /nowhere >&-", exits.DONE),
        ("rm nothing.gguf <&-", exits.NOT_FOUND),
        ("ls --models-dir /nowhere >&- 2>&-", exits.DONE),
        ("chat demo <&- 2>&-", exits.DONE),
    ],
)
def test_a_standard_stream_may_be_closed(
    cli: Cli, environment: dict[str, str], command: str, code: int
) -> None:
    done = subprocess.run(
        f"{sys.executable} -m api_host.cli {command}",
        shell=True,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environment,
    )
    assert (done.returncode, done.stdout) == (code, "")
    assert "Traceback" not in done.stderr


def test_a_reader_that_has_gone_is_not_worth_a_word() -> None:
    command = f"{sys.executable} -m api_host.cli --help | true"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60, check=True)
    assert (done.stdout, done.stderr) == ("", "")
