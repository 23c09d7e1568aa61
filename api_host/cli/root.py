"""The group that holds the commands; one file each, none knows another."""

from __future__ import annotations

import importlib

import click

EXAMPLES = """
\b
Examples:
  api-host demo
  api-host doctor
  api-host serve --model Qwen/Qwen2.5-1.5B-Instruct-GGUF:Q4_K_M
  api-host chat Qwen/Qwen2.5-1.5B-Instruct-GGUF:Q4_K_M

Every setting can come from the environment (API_HOST_MODEL, API_HOST_TOKEN, ...) or from config.yaml instead.

\b
Exit codes:
  0 done             3 not found                6 no disk or memory left
  1 failed           4 token or access refused  7 busy, try again later
  2 wrong usage      5 not reached              130 ended by Ctrl-C
"""

COMMANDS = {
    "serve": ("api_host.cli.serve", "Serve the API until Ctrl-C."),
    "demo": ("api_host.cli.demo", "Ask the built-in demo model a few questions."),
    "chat": ("api_host.cli.chat", "Talk to a model, here or on a host elsewhere."),
    "pull": ("api_host.cli.pull", "Fetch a model from the hub."),
    "convert": ("api_host.cli.convert", "Turn a GGML file of before GGUF into a GGUF."),
    "ls": ("api_host.cli.models", "List the models on this disk."),
    "rm": ("api_host.cli.models", "Remove models from this disk."),
    "doctor": ("api_host.cli.doctor", "Check this machine, with a cure for each finding."),
}


class Commands(click.Group):
    """Imports a command when it is asked for, so that ``ls`` waits for no web server, and ``--help`` for none."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(importlib.import_module(COMMANDS[cmd_name][0]), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


@click.group(cls=Commands, epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="api-host", prog_name="api-host")
def cli() -> None:
    """A private LLM API with a public URL, on llama.cpp."""
