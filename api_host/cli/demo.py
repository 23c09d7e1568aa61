"""``api-host demo``: the whole way once, on this machine: host, client, answer.

The model that ships with the package needs no network, so this is the first command for a fresh machine.
"""

from __future__ import annotations

import sys

import click

from api_host.cli.session import Session
from api_host.host import ApiHost

CONVERSATIONS = (
    ("What is the capital of France?", "And of Italy?"),
    ("Write a short story about a cat that steals food.",),
)

HOW_TO_GO_ON = """\
How to go on:
  api-host chat demo                        talk to this model yourself
  api-host serve --model demo               serve it with a public URL (a Cloudflare quick tunnel)
  api-host serve --model Qwen/Qwen2.5-1.5B-Instruct-GGUF:Q4_K_M
                                            a real model, fetched from the hub (about 1 GB)
  api-host --help                           all commands"""


@click.command()
def demo() -> None:
    """Ask the built-in demo model a few questions, here and now."""
    host = ApiHost(model="demo", tunnel=False, port=0, announce=False)
    click.echo("Starting a host with the demo model ...")
    with host:
        click.echo(f"It listens on {host.local_url}\n")
        session = Session(host.client(), sys.stdout, {"top_k": 1, "max_tokens": 200})
        for questions in CONVERSATIONS:
            session.reset()
            for question in questions:
                click.secho(f"> {question}", bold=True)
                pace = session.say(question)
                click.secho(f"\n  ({pace:.0f} tokens per second)\n", dim=True)
    click.echo(HOW_TO_GO_ON)
