"""``api-host pull``: fetches a model into the cache, so that a later host finds it there."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NoReturn

import click
from tqdm import tqdm

from api_host.cli import options
from api_host.cli.sizes import size_text
from api_host.config import HostConfig
from api_host.models.hub.hub import Hub, Progress
from api_host.models.pool.memory import file_size
from api_host.models.reference import parse_reference

EXAMPLES = """
\b
Examples:
  api-host pull Qwen/Qwen2.5-7B-Instruct-GGUF:Q4_K_M
  api-host pull TheBloke/Llama-2-7B-Chat-GGUF/llama-2-7b-chat.Q4_K_M.gguf

A gated model needs a hub token: set HF_TOKEN. An interrupted pull goes on where it stopped.
"""


@click.command(epilog=EXAMPLES)
@click.argument("ref")
@options.models_dir
def pull(ref: str, models_dir: Path | None) -> None:
    """Fetch model REF from the hub, with a progress bar on stderr; print its file's path, then its size."""
    model = parse_reference(ref)
    config = HostConfig.from_arguments(models_dir=models_dir)
    token = config.hub_token.get_secret_value() if config.hub_token is not None else None
    hub = Hub(config.models_dir, token, config.stall_timeout, config.disk_reserve)
    with _Bar() as bar:
        path = hub.fetch(model, bar.show)
    click.echo(path)
    click.echo(f"{model.name}: {size_text(file_size(path))}", err=True)


class _Bar:
    """A bar that appears with the first byte: a model that is here already needs none."""

    def __init__(self) -> None:
        self._bar: tqdm[NoReturn] | None = None

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *reason: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def show(self, progress: Progress) -> None:
        if self._bar is None:
            self._bar = tqdm(
                desc=progress.file,
                total=progress.bytes_total or None,
                initial=progress.bytes_done,
                unit="B",
                unit_scale=True,
                file=sys.stderr,
            )
        bar = self._bar
        bar.total = progress.bytes_total or None
        bar.set_description(progress.file, refresh=False)
        bar.update(progress.bytes_done - bar.n)
