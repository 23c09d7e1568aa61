"""``api-host serve``: a host in the foreground until Ctrl-C.

At a terminal its facts stand on a screen; in a pipe, a CI job or with ``--plain`` each is a line, as it comes.
"""

from __future__ import annotations

import gc
import sys
from typing import Any, get_args

import click

from api_host import __version__
from api_host.cli import options
from api_host.cli.every_second import EverySecond
from api_host.cli.host_lines import HostLines
from api_host.cli.options import IntOrAuto, default
from api_host.cli.screen import can_redraw, console_on, keys_not_shown
from api_host.host import ApiHost
from api_host.kv_cache import CacheType

EXAMPLES = """
\b
Examples:
  api-host serve
  api-host serve --model Qwen/Qwen2.5-7B-Instruct-GGUF:Q4_K_M --ctx-length 8192
  api-host serve --model demo --no-tunnel --port 8080
  API_HOST_TOKEN=my-long-secret api-host serve
  api-host serve --json | jq --unbuffered .public_url
"""


@click.command(epilog=EXAMPLES)
@click.option(
    "--model", metavar="REF", help="The model of requests that name none: owner/name:quant, demo, ..."
)
@click.option("--host", "address", metavar="A", help="The address to listen on." + default("address"))
@click.option("--port", type=int, help="A taken port moves on to the next free one." + default("port"))
@options.token
@click.option(
    "--no-token", is_flag=True, default=None, help="Serve without a token: whoever has the URL may use it."
)
@click.option("--tunnel/--no-tunnel", default=None, help="A public URL by cloudflared." + default("tunnel"))
@click.option("--ctx-length", type=int, help="Context in tokens, of each sequence." + default("ctx_length"))
@click.option("--parallel", type=IntOrAuto(), help="Sequences at once." + default("parallel"))
@click.option("--n-gpu-layers", type=IntOrAuto(), help="Layers on the GPU." + default("n_gpu_layers"))
@click.option("--threads", type=IntOrAuto(), help="Threads of llama.cpp." + default("threads"))
@click.option(
    "--cache-type", type=click.Choice(get_args(CacheType)), help="KV cache." + default("cache_type")
)
@click.option(
    "--draft-model", metavar="REF", help="A smaller model of the same family, which guesses tokens."
)
@click.option("--draft-max", type=int, help="Tokens that it guesses at once, 1 to 16." + default("draft_max"))
@options.models_dir
@click.option("--plain", is_flag=True, help="Lines instead of the screen, at a terminal too.")
@options.quiet("Print nothing but a token that was newly made.")
@options.as_json("A JSON object for each change of URLs or models, one a line; the first has the token.")
def serve(
    no_token: bool | None, token: str | None, plain: bool, quiet: bool, as_json: bool, **settings: Any
) -> None:
    """Serve the API until Ctrl-C; print the token, then show URLs, models and figures."""
    if no_token and token is not None:
        raise click.UsageError("--token and --no-token exclude each other")
    if plain + quiet + as_json > 1:
        raise click.UsageError("--plain, --quiet and --json exclude each other")
    drawn = can_redraw(sys.stdout) and not (plain or quiet or as_json)
    lines = not (drawn or quiet or as_json)
    host = ApiHost(token=token, use_token=False if no_token else None, announce=lines, **settings)
    # What is there by now stays, and a full collection, which stops every request, need not look at it again.
    gc.freeze()
    if as_json:
        _with_json(host)
    elif drawn:
        _with_screen(host)
    else:
        if quiet and host.config.token is None and host.access_token is not None:
            click.echo(host.access_token)
        host.run()


def _with_screen(host: ApiHost) -> None:
    from api_host.cli.host_screen import HostScreen

    # Once, above the screen: where it can be copied from, and is gone when the terminal is cleared.
    if host.access_token is None:
        click.secho("This host asks for no access token: whoever has its URL can use it.", fg="yellow")
        note = "none is asked for"
    else:
        click.echo(f"Access token: {host.access_token}")
        note = "printed above, at the start"
    title = f"API Host {__version__}"
    with keys_not_shown(), HostScreen(console_on(sys.stdout), host.facts, title, note):
        host.run()


def _with_json(host: ApiHost) -> None:
    lines = HostLines(sys.stdout, host.facts, host.access_token)

    def look() -> None:
        try:
            lines.look()
        except BrokenPipeError:  # nobody reads them any more
            host.stop()

    with EverySecond(look):
        host.run()
