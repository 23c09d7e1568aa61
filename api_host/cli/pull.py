"""``api-host pull``: fetches a model into the cache, so that a later host finds it there."""

from __future__ import annotations

import json
from pathlib import Path

import click

from api_host.cli import options
from api_host.cli.bars import Bar
from api_host.cli.sizes import size_text
from api_host.config import HostConfig
from api_host.credentials import hub_token
from api_host.models.hub.hub import Hub
from api_host.models.pool.memory import file_size
from api_host.models.reference import parse_reference

EXAMPLES = """
\b
Examples:
  api-host pull Qwen/Qwen2.5-7B-Instruct-GGUF:Q4_K_M
  api-host pull TheBloke/Llama-2-7B-Chat-GGUF/llama-2-7b-chat.Q4_K_M.gguf
  model=$(api-host pull --quiet Qwen/Qwen2.5-0.5B-Instruct-GGUF:Q8_0)

A gated model needs a hub token: set HF_TOKEN. An interrupted pull goes on where it stopped.
"""


@click.command(epilog=EXAMPLES)
@click.argument("ref")
@options.as_json("Print a JSON object: model, path, size in bytes.")
@options.quiet("Print the path alone, and no bar.")
@options.models_dir
def pull(ref: str, as_json: bool, quiet: bool, models_dir: Path | None) -> None:
    """Fetch model REF from the hub, with a progress bar on stderr; print its file's path, then its size."""
    model = parse_reference(ref)
    config = HostConfig.from_arguments(models_dir=models_dir)
    hub = Hub(config.models_dir, hub_token(config), config.stall_timeout, config.disk_reserve)
    with Bar(quiet=quiet) as bar:
        path = hub.fetch(model, lambda moved: bar.show(moved.file, moved.bytes_done, moved.bytes_total))
    size = file_size(path)
    if as_json:
        click.echo(json.dumps({"model": model.name, "path": str(path), "size": size}))
        return
    click.echo(path)
    if not quiet:
        click.echo(f"{model.name}: {size_text(size)}", err=True)
