"""``api-host chat``: a conversation in the terminal, with a local model or with a host elsewhere.

Answers go to stdout and everything else to stderr, so that a pipe carries the answers alone.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from api_host.cli import options
from api_host.cli.bars import Bar
from api_host.cli.conversation import Conversation
from api_host.cli.line_input import history_file
from api_host.cli.session import Session
from api_host.config import HostConfig
from api_host.errors import InvalidRequest
from api_host.host import ApiHost
from api_host_client import Answer, Client

EXAMPLES = """
\b
Examples:
  api-host chat demo
  api-host chat Qwen/Qwen2.5-1.5B-Instruct-GGUF:Q4_K_M
  API_HOST_TOKEN=... api-host chat --url https://some-words.trycloudflare.com
  echo "What is the capital of France?" | api-host chat demo
  api-host chat demo --json < questions.txt | jq -r .answer

In the chat, /help lists the commands. Lines that are typed are kept in the state folder, readable by you alone;
--no-history (or API_HOST_CHAT_HISTORY=0) keeps none.
"""


@click.command(epilog=EXAMPLES)
@click.argument("ref", required=False)
@click.option("--url", help="Talk to the host at this URL, not to a local one.")
@options.token
@click.option("--system", metavar="TEXT", help="The system prompt.")
@click.option("--max-tokens", type=click.IntRange(min=1), help="Longest answer, in tokens.")
@click.option("--temperature", type=click.FloatRange(min=0), help="0 is greedy.")
@click.option("--plain", is_flag=True, help="Show answers as they are written, not as Markdown.")
@click.option(
    "--history/--no-history",
    default=True,
    envvar="API_HOST_CHAT_HISTORY",
    help="Keep the typed lines for the next chat. [default: history]",
)
@options.as_json("A JSON object for each answer, one a line: answer, model, usage, timings, finish_reason.")
@options.models_dir
def chat(
    ref: str | None,
    url: str | None,
    token: str | None,
    system: str | None,
    models_dir: Path | None,
    plain: bool,
    history: bool,
    as_json: bool,
    **parameters: Any,
) -> None:
    """Talk to model REF (default: the configured one, or the demo model)."""
    if token is not None and url is None:
        raise click.UsageError("--token belongs to --url; a local chat needs none")
    if models_dir is not None and url is not None:
        raise click.UsageError("--models-dir belongs to a local chat; the host at --url has its own")
    given = {name: value for name, value in parameters.items() if value is not None}
    place = _at(url, token, ref) if url is not None else _private_host(ref, models_dir)
    with place as client:
        session = Session(client, given)
        session.set_system(system or "")
        if sys.stdin.isatty() and not as_json:
            Conversation(session, plain, history_file() if history else None).hold()
        else:
            _answer_lines(session, as_json)


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
    model = HostConfig.from_arguments(model=ref, models_dir=models_dir).model or "demo"
    here: dict[str, Any] = {"address": options.THIS_MACHINE, "port": 0, "models_dir": models_dir}
    if model != _own_model(models_dir):
        here |= options.OF_NO_OTHER_MODEL
    with ApiHost(model=model, tunnel=False, announce=False, **here) as host:
        client = host.client()
        # Before the first prompt, so that a download is seen and a wrong name ends the command.
        with Bar(quiet=not sys.stderr.isatty()) as bar:
            client.load(model, progress=bar.show_model)
        client.model = model
        yield client


def _own_model(models_dir: Path | None) -> str | None:
    """The settings' own model, None where there is none."""
    # One of LLM API's config.yaml need not be there for a chat with another model.
    with contextlib.suppress(InvalidRequest):
        return HostConfig.from_arguments(models_dir=models_dir).model
    return None


def _answer_lines(session: Session, as_json: bool) -> None:
    """Each line of stdin is a question; commands and the first failure end or change the chat as at a prompt."""
    for line in (line.strip() for line in sys.stdin):
        if line in ("/exit", "/quit"):
            return
        if line == "/reset":
            session.reset()
        elif line.startswith("/system "):
            session.set_system(line.removeprefix("/system").strip())
        elif line.startswith("/"):
            raise click.UsageError(f"{line.split()[0]} is no command that works without a terminal")
        elif line and as_json:
            click.echo(json.dumps(_as_dict(session.ask(line, lambda text: None)), ensure_ascii=False))
        elif line:
            session.ask(line, lambda text: click.echo(text, nl=False))
            click.echo()


def _as_dict(answer: Answer) -> dict[str, Any]:
    return {
        "answer": answer.text,
        "model": answer.model,
        "usage": asdict(answer.usage),
        "timings": asdict(answer.timings),
        "finish_reason": answer.finish_reason,
    }
