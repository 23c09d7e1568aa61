"""``api-host chat``: a conversation in the terminal, with a local model or with a host elsewhere.

Answers go to stdout and everything else to stderr, so that a pipe carries the answers alone.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from api_host.cli import options
from api_host.cli.session import Session
from api_host.config import HostConfig
from api_host.host import ApiHost
from api_host_client import Client, ClientError

COMMANDS = "/system TEXT sets the system prompt, /reset forgets the turns, /exit or Ctrl-D ends."

EXAMPLES = """
\b
Examples:
  api-host chat demo
  api-host chat Qwen/Qwen2.5-1.5B-Instruct-GGUF:Q4_K_M
  API_HOST_TOKEN=... api-host chat --url https://some-words.trycloudflare.com
  echo "What is the capital of France?" | api-host chat demo

In the chat: /system TEXT, /reset, /exit (or Ctrl-D).
"""


@click.command(epilog=EXAMPLES)
@click.argument("ref", required=False)
@click.option("--url", help="Talk to the host at this URL, not to a local one.")
@options.token
@click.option("--max-tokens", type=click.IntRange(min=1), help="Longest answer, in tokens.")
@click.option("--temperature", type=click.FloatRange(min=0), help="0 is greedy.")
@options.models_dir
def chat(
    ref: str | None, url: str | None, token: str | None, models_dir: Path | None, **parameters: Any
) -> None:
    """Talk to model REF (default: the configured one, or the demo model)."""
    if token is not None and url is None:
        raise click.UsageError("--token belongs to --url; a local chat needs none")
    if models_dir is not None and url is not None:
        raise click.UsageError("--models-dir belongs to a local chat; the host at --url has its own")
    given = {name: value for name, value in parameters.items() if value is not None}
    place = _at(url, token, ref) if url is not None else _private_host(ref, models_dir)
    with place as client:
        _converse(Session(client, sys.stdout, given))


@contextlib.contextmanager
def _at(url: str, token: str | None, ref: str | None) -> Iterator[Client]:
    try:
        client = Client(url, token or os.environ.get("API_HOST_TOKEN"), model=ref)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    yield client


@contextlib.contextmanager
def _private_host(ref: str | None, models_dir: Path | None) -> Iterator[Client]:
    """A host for this terminal alone: loopback, a free port, no tunnel."""
    # What goes wrong is told once, by the command itself.
    logging.getLogger("api_host").addHandler(logging.NullHandler())
    model = HostConfig.from_arguments(model=ref).model or "demo"
    with ApiHost(model=model, tunnel=False, port=0, models_dir=models_dir, announce=False) as host:
        client = host.client()
        # Before the first prompt, so that a download is seen and a wrong name ends the command.
        client.load(model, progress=sys.stderr.isatty())
        yield client


def _converse(session: Session) -> None:
    interactive = sys.stdin.isatty()
    if interactive:
        with contextlib.suppress(ImportError):
            importlib.import_module("readline")  # gives input() line editing and a history
        click.echo(COMMANDS, err=True)
    for line in _lines(interactive):
        if line == "/exit":
            return
        if line == "/reset":
            session.reset()
        elif line == "/system" or line.startswith("/system "):
            session.set_system(line.removeprefix("/system").strip())
        elif line.startswith("/"):
            click.echo(f"{line.split()[0]} is no command. {COMMANDS}", err=True)
        elif line:
            _answer(session, line, interactive)


def _lines(interactive: bool) -> Iterator[str]:
    if not interactive:
        yield from (line.strip() for line in sys.stdin)
        return
    with contextlib.suppress(EOFError):
        while True:
            yield input("> ").strip()
    click.echo(err=True)


def _answer(session: Session, line: str, interactive: bool) -> None:
    """One turn. At a terminal a failed one is told and the chat goes on; in a pipe it ends the command."""
    try:
        pace = session.say(line)
    except ClientError as error:
        if not interactive:
            raise
        click.secho(f"Error: {error}", err=True)
        return
    click.echo()
    if interactive:
        click.secho(f"({pace:.0f} tokens per second)", dim=True, err=True)
