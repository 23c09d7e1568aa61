"""The console script's help, and what it says to wrong arguments."""

from __future__ import annotations

import pytest

from tests.cli.terminal import Cli, assert_one_line_error


@pytest.mark.parametrize("command", ["", "serve", "demo", "pull", "ls", "rm", "chat"])
def test_every_command_explains_itself(cli: Cli, command: str) -> None:
    done = cli(*command.split(), "--help")
    assert done.returncode == 0, done.stderr
    assert f"Usage: api-host {command}".strip() in done.stdout
    if command != "demo":
        assert "Examples:" in done.stdout


def test_the_help_shows_the_defaults_of_the_configuration(cli: Cli) -> None:
    shown = " ".join(cli("serve", "--help").stdout.split())
    assert "[default: 5000]" in shown and "[default: 4096]" in shown
    assert "API_HOST_TOKEN" in shown


@pytest.mark.parametrize(
    "arguments",
    [
        ["serve", "--port", "many"],
        ["serve", "--parallel", "some"],
        ["serve", "--token", "long-enough", "--no-token"],
        ["chat", "demo", "--token", "long-enough"],
        ["chat", "--url", "ftp://nowhere"],
        ["pull"],
        ["fly"],
    ],
)
def test_wrong_usage_ends_with_2_and_says_what_is_wrong(cli: Cli, arguments: list[str]) -> None:
    done = cli(*arguments)
    assert done.returncode == 2
    assert "Error: " in done.stderr and "Traceback" not in done.stderr


def test_a_setting_out_of_range_is_told_in_one_line(cli: Cli) -> None:
    assert_one_line_error(cli("serve", "--no-tunnel", "--port", "70000"), "port", "65535")
    assert_one_line_error(cli("serve", "--no-tunnel", API_HOST_CTX_LENGTH="tiny"), "ctx_length")


def test_a_short_token_is_refused_without_being_repeated(cli: Cli) -> None:
    done = cli("serve", "--no-tunnel", API_HOST_TOKEN="abc123")
    assert_one_line_error(done, "token")
    assert "abc123" not in done.stderr
