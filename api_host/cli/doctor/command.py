"""``api-host doctor``: the command. Which checks there are, how they are told, and what the exit code says."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import click
from pydantic import ValidationError

from api_host.cli import exits, options
from api_host.cli.doctor import llama, machine, network
from api_host.cli.doctor.check import Check, Finding, Level, broken, examine, ok, warning
from api_host.cli.printable import printable
from api_host.config import HostConfig
from api_host.errors import ApiHostError
from api_host.models.reference import parse_reference

EXAMPLES = """
\b
Examples:
  api-host doctor
  api-host doctor --json | jq '.checks[] | select(.level != "ok")'
  API_HOST_MODEL=Qwen/Qwen2.5-7B-Instruct-GGUF:Q4_K_M api-host doctor

The exit code is 1 when something that is needed is broken, else 0; warnings leave it at 0.
"""

_STYLES = {Level.OK: "green", Level.WARNING: "yellow", Level.BROKEN: "red"}
_NAME_WIDTH = 13
_LEVEL_WIDTH = 9
_QUICK_S = 15.0
_TOO_LATE = "it gave no answer in time"


@click.command(epilog=EXAMPLES)
@options.as_json(
    'A JSON object: "ok", and "checks", a list of name, level (ok, warning, broken), told and cure.'
)
@options.quiet("Only what is not ok.")
@options.models_dir
def doctor(as_json: bool, quiet: bool, models_dir: Path | None) -> None:
    """Check this machine for all that a host needs, and say how to mend it. Changes nothing."""
    found = []
    for name, finding in examine(_checks(models_dir)):
        found.append((name, finding))
        if not as_json and not (quiet and finding.level is Level.OK):
            _tell(name, finding)
    levels = [finding.level for _, finding in found]
    if as_json:
        checks = [_entry(name, finding) for name, finding in found]
        click.echo(json.dumps({"ok": Level.BROKEN not in levels, "checks": checks}, indent=2))
    elif not quiet:
        click.echo(_summary(levels))
    if Level.BROKEN in levels:
        sys.exit(exits.FAILED)


def _checks(models_dir: Path | None) -> list[Check]:
    config, settings = _settings(models_dir)

    def with_config(look: Callable[[HostConfig], Finding]) -> Callable[[], Finding]:
        if config is None:
            return lambda: warning("not looked at: the settings are wrong", "mend the settings first")
        return lambda: look(config)

    def check(name: str, look: Callable[[], Finding], limit: float = _QUICK_S) -> Check:
        return Check(name, look, limit, warning(_TOO_LATE, "try again when the machine has less to do"))

    no_answer = "nothing in time: a name server or a firewall swallows what is asked"
    no_network = warning(
        no_answer, "connect this machine to the internet, or use --no-tunnel and models on this disk"
    )
    stuck = broken(_TOO_LATE, "restart the machine; a driver that hangs is the usual cause")
    return [
        check("python", machine.python),
        check("packages", machine.packages),
        check("settings", lambda: settings),
        check("compiler", machine.compiler),
        Check("llama.cpp", llama.build, llama.ASK_LIMIT_S + llama.DRIVER_LIMIT_S + 1, stuck),
        Check("gpu", llama.driver, llama.DRIVER_LIMIT_S + 1, stuck),
        check("disk", with_config(machine.disk)),
        check("port", with_config(machine.port)),
        Check("hub", with_config(network.hub), 2 * network.HUB_TIMEOUT_S + 1, no_network),
        Check("cloudflared", with_config(network.cloudflared), 30.0, no_network),
        Check("demo model", llama.demo_model, llama.DEMO_LIMIT_S + 1, stuck),
    ]


def _settings(models_dir: Path | None) -> tuple[HostConfig | None, Finding]:
    """The settings, if they can be read, and what to say of them."""
    try:
        config = HostConfig.from_arguments(models_dir=models_dir)
        if config.model is not None:
            parse_reference(config.model)
    except (ValidationError, ApiHostError, OSError, ValueError) as error:
        cure = "correct the environment variable API_HOST_... of that name, or config.yaml in this folder"
        return None, broken(exits.sentence_of(error), cure)
    return config, ok(f"default model: {config.model or 'none'}, tunnel: {'on' if config.tunnel else 'off'}")


def _entry(name: str, finding: Finding) -> dict[str, str | None]:
    return {
        "name": name,
        "level": finding.level.value,
        "told": printable(finding.told),
        "cure": printable(finding.cure) or None,
    }


def _tell(name: str, finding: Finding) -> None:
    level = click.style(f"{finding.level.value:<{_LEVEL_WIDTH}}", fg=_STYLES[finding.level])
    indent = " " * (_LEVEL_WIDTH + _NAME_WIDTH)
    told = _wrapped(printable(finding.told), indent)
    click.echo(f"{level}{name:<{_NAME_WIDTH}}{told}")
    if finding.cure:
        click.echo(f"{indent}{click.style(_wrapped(f'Do: {printable(finding.cure)}', indent), bold=True)}")


def _wrapped(text: str, indent: str) -> str:
    """For a terminal, cut between words; a pipe gets one line. Commands are never hyphenated."""
    if not sys.stdout.isatty():
        return text
    width = max(40, shutil.get_terminal_size().columns - 1)
    lines = textwrap.wrap(text, width - len(indent), break_long_words=False, break_on_hyphens=False)
    return f"\n{indent}".join(lines)


def _summary(levels: list[Level]) -> str:
    n_broken, n_warnings = levels.count(Level.BROKEN), levels.count(Level.WARNING)
    if not n_broken and not n_warnings:
        return "\nAll is well. Go on with: api-host demo"
    told = [f"{n_broken} broken"] * bool(n_broken) + [f"{n_warnings} to know of"] * bool(n_warnings)
    rest = "a host does not work well until that is mended" if n_broken else "a host works all the same"
    return f"\n{', '.join(told)}: {rest}."
