"""The group that holds the commands; one file each, none knows another."""

from __future__ import annotations

import importlib

import click

EXAMPLES = """
\b
Examples:
  api-host demo
  api-host serve --model Qwen/Qwen2.5-1.5B-Instruct-GGUF:Q4_K_M
  api-host chat Qwen/Qwen2.5-1.5B-Instruct-GGUF:Q4_K_M

Every setting can come from the environment (API_HOST_MODEL, API_HOST_TOKEN, ...) or from config.yaml instead.
"""

HOMES = {
    "serve": "api_host.cli.serve",
    "demo": "api_host.cli.demo",
    "chat": "api_host.cli.chat",
    "pull": "api_host.cli.pull",
    "convert": "api_host.cli.convert",
    "ls": "api_host.cli.models",
    "rm": "api_host.cli.models",
}


class Commands(click.Group):
    """Imports a command when it is asked for, so that ``ls`` waits for neither a web server nor the hub."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(HOMES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        home = HOMES.get(cmd_name)
        if home is None:
            return None
        command: click.Command = getattr(importlib.import_module(home), cmd_name)
        return command


@click.group(cls=Commands, epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="api-host", prog_name="api-host")
def cli() -> None:
    """A private LLM API with a public URL, on llama.cpp."""
