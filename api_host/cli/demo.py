"""``api-host demo``: the whole way once, on this machine: host, client, answer.

The model that ships with the package needs no network, so this is the first command for a fresh machine.
"""

from __future__ import annotations

import click

from api_host.cli import options
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


EXAMPLES = """
\b
Examples:
  api-host demo
  api-host demo --quiet
"""


@click.command(epilog=EXAMPLES)
@options.quiet("The answers alone, one a line.")
def demo(quiet: bool) -> None:
    """Ask the built-in demo model a few questions, here and now."""

    def say(text: str, bold: bool = False, dim: bool = False) -> None:
        if not quiet:
            click.secho(text, bold=bold, dim=dim)

    here = {"address": options.THIS_MACHINE, "port": 0, **options.OF_NO_OTHER_MODEL}
    host = ApiHost(model="demo", tunnel=False, announce=False, **here)
    say("Starting a host with the demo model ...")
    with host:
        say(f"It listens on {host.local_url}\n")
        session = Session(host.client(), {"top_k": 1, "max_tokens": 200})
        for questions in CONVERSATIONS:
            session.reset()
            for question in questions:
                say(f"> {question}", bold=True)
                answer = session.ask(question, lambda text: click.echo(text, nl=False))
                say(f"\n  ({answer.timings.tokens_per_second:.0f} tokens per second)", dim=True)
                click.echo()
    say(HOW_TO_GO_ON)
