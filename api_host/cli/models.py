"""``api-host ls`` and ``api-host rm``: the models on this disk. Starts no host and asks no hub."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import click

from api_host.cli import options
from api_host.cli.sizes import size_text
from api_host.config import HostConfig
from api_host.models.cache import CachedModel, ModelCache
from api_host.models.reference import parse_reference

LS_EXAMPLES = """
\b
Examples:
  api-host ls
  api-host ls --json | python3 -m json.tool
"""

RM_EXAMPLES = """
\b
Examples:
  api-host rm Qwen/Qwen2.5-7B-Instruct-GGUF:Q4_K_M
  api-host rm Qwen/Qwen2.5-7B-Instruct-GGUF          (all files of it)
"""


def cache_of(models_dir: Path | None) -> ModelCache:
    """The cache that a host with these settings uses."""
    return ModelCache(HostConfig.from_arguments(models_dir=models_dir).models_dir)


@click.command(epilog=LS_EXAMPLES)
@click.option("--json", "as_json", is_flag=True, help="A JSON list; sizes in bytes, times in Unix seconds.")
@options.models_dir
def ls(as_json: bool, models_dir: Path | None) -> None:
    """List the models on this disk."""
    models = cache_of(models_dir).list()
    if as_json:
        click.echo(json.dumps([_entry(model) for model in models], indent=2))
    elif models:
        click.echo(_table(models))
    else:
        click.echo("No models here yet; `api-host pull owner/name:Q4_K_M` fetches one.", err=True)


@click.command(epilog=RM_EXAMPLES)
@click.argument("ref")
@options.models_dir
def rm(ref: str, models_dir: Path | None) -> None:
    """Remove model REF from this disk."""
    freed = cache_of(models_dir).remove(parse_reference(ref))
    click.echo(f"Removed {ref}: {size_text(freed)} are free again.")


def _entry(model: CachedModel) -> dict[str, str | int | float]:
    return {"model": model.name, "size": model.size, "last_used": model.last_used}


def _table(models: list[CachedModel]) -> str:
    rows = [("MODEL", "SIZE", "LAST USED"), *(_row(model) for model in models)]
    name_width, size_width = (max(len(row[column]) for row in rows) for column in (0, 1))
    return "\n".join(f"{name:<{name_width}}  {size:>{size_width}}  {used}" for name, size, used in rows)


def _row(model: CachedModel) -> tuple[str, str, str]:
    used = datetime.fromtimestamp(model.last_used).strftime("%Y-%m-%d %H:%M")
    return model.name, size_text(model.size), used
