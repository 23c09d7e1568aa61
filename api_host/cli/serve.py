"""``api-host serve``: a host in the foreground until Ctrl-C."""

from __future__ import annotations

from typing import Any, get_args

import click

from api_host.cli import options
from api_host.cli.options import IntOrAuto, default
from api_host.gguf_header import CacheType
from api_host.host import ApiHost

EXAMPLES = """
\b
Examples:
  api-host serve
  api-host serve --model Qwen/Qwen2.5-7B-Instruct-GGUF:Q4_K_M --ctx-length 8192
  api-host serve --model demo --no-tunnel --port 8080
  API_HOST_TOKEN=my-long-secret api-host serve
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
@options.models_dir
def serve(no_token: bool | None, token: str | None, **settings: Any) -> None:
    """Serve the API until Ctrl-C; print the token and the URLs."""
    if no_token and token is not None:
        raise click.UsageError("--token and --no-token exclude each other")
    ApiHost(token=token, use_token=False if no_token else None, **settings).run()
