"""docs/terminal.md keeps its promises: its examples run, its tables are the program's."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from api_host.cli import exits
from api_host.cli.root import COMMANDS, cli
from api_host.cli.slash import HELP
from api_host.host import ApiHost
from tests.examples import Example, check_each_is_run_or_says_why_not, examples_in

PAGE = Path(__file__).parents[2] / "docs" / "terminal.md"
TEXT = PAGE.read_text()
EXAMPLES = examples_in(TEXT)
TO_RUN = [example for example in EXAMPLES if example.not_run is None]


@pytest.mark.parametrize("example", TO_RUN, ids=str)
def test_an_example_runs_and_prints_what_it_should(
    example: Example, demo_host: ApiHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    example.run(demo_host, tmp_path)


def test_every_example_is_run_or_says_why_not() -> None:
    assert len(TO_RUN) >= 4
    check_each_is_run_or_says_why_not(EXAMPLES)


def first_cells(heading: str) -> list[str]:
    section = f"\n{TEXT}".split(f"\n{heading}\n")[1].split("\n## ")[0]
    return re.findall(r"^\| `?([^|`]+?)`? \|", section, re.MULTILINE)[1:]


def test_the_tables_are_the_programs_own() -> None:
    codes = {value for name, value in vars(exits).items() if name.isupper() and isinstance(value, int)}
    assert {int(cell) for cell in first_cells("## Exit codes")} == codes
    assert {cell.split()[0] for cell in first_cells("## chat")} == set(HELP)
    assert {cell.split()[1] for cell in first_cells("# The terminal")} == set(COMMANDS)


def test_every_option_that_it_names_is_one() -> None:
    context = click.Context(cli)
    commands = [cli.get_command(context, name) for name in COMMANDS]
    known = {
        option
        for command in commands
        if command is not None
        for parameter in command.params
        for option in [*parameter.opts, *parameter.secondary_opts]
    }
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", TEXT))
    assert named - known == {"--help", "--unbuffered"}


def test_every_command_has_a_form_for_scripts() -> None:
    context = click.Context(cli)
    for name in COMMANDS:
        command = cli.get_command(context, name)
        assert command is not None
        assert {"as_json", "quiet"} & {parameter.name for parameter in command.params}, name
