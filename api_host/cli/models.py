"""``api-host ls`` and ``api-host rm``: the models on this disk. Starts no host and asks no hub."""

from __future__ import annotations

import json
import re
import sys
from datetime import datetime
from pathlib import Path

import click

from api_host.cli import options
from api_host.cli.sizes import size_text
from api_host.config import HostConfig
from api_host.models.cache import CachedModel, ModelCache
from api_host.models.details import details_of
from api_host.models.pool.memory import file_size
from api_host.models.reference import ModelRef, parse_reference

LS_EXAMPLES = """
\b
Examples:
  api-host ls
  api-host ls --json | python3 -m json.tool
  api-host ls --quiet | grep Qwen
"""

RM_EXAMPLES = """
\b
Examples:
  api-host rm Qwen/Qwen2.5-7B-Instruct-GGUF:Q4_K_M
  api-host rm Qwen/Qwen2.5-7B-Instruct-GGUF          (all files of it)
  api-host rm --yes some/file.gguf other/file.gguf
"""

_QUANT = re.compile(
    r"(?<![A-Za-z0-9])((?:I?Q|TQ)\d(?:_[A-Z0-9]+)*|BF16|F16|F32|MXFP4(?:_[A-Z]+)?)(?![A-Za-z0-9_])",
    re.IGNORECASE,
)
_HEADINGS = ("MODEL", "QUANT", "SIZE", "LAST USED")
_TO_THE_RIGHT = 2


def cache_of(models_dir: Path | None) -> ModelCache:
    """The cache that a host with these settings uses."""
    return ModelCache(HostConfig.from_arguments(models_dir=models_dir).models_dir)


@click.command(epilog=LS_EXAMPLES)
@options.as_json("A JSON list; sizes in bytes, times in Unix seconds.")
@options.quiet("The names alone.")
@options.models_dir
def ls(as_json: bool, quiet: bool, models_dir: Path | None) -> None:
    """List the models on this disk."""
    models = cache_of(models_dir).list()
    if as_json:
        click.echo(json.dumps([_entry(model) for model in models], indent=2))
    elif quiet:
        click.echo("".join(f"{model.name}\n" for model in models), nl=False)
    elif models:
        _show(models)
    else:
        click.echo("No models here yet; `api-host pull owner/name:Q4_K_M` fetches one.", err=True)


@click.command(epilog=RM_EXAMPLES)
@click.argument("refs", metavar="REF...", nargs=-1, required=True)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@options.as_json(
    "Print a JSON list: model, and the bytes that are free again. Asks nothing, so it needs --yes."
)
@options.quiet("Print nothing, but ask all the same.")
@options.models_dir
def rm(refs: tuple[str, ...], yes: bool, as_json: bool, quiet: bool, models_dir: Path | None) -> None:
    """Remove each model REF from this disk, after asking."""
    cache = cache_of(models_dir)
    wanted = list(dict.fromkeys(parse_reference(ref) for ref in refs))
    if not yes:
        _ask(cache, wanted, can_ask=sys.stdin.isatty() and not as_json)
    removed: list[tuple[str, int]] = []
    try:
        for ref in wanted:
            removed.append((ref.name, cache.remove(ref)))
    finally:
        # Those before one that cannot be removed are gone all the same.
        _tell_removed(removed, as_json, quiet)


def _tell_removed(removed: list[tuple[str, int]], as_json: bool, quiet: bool) -> None:
    if as_json and removed:
        click.echo(json.dumps([{"model": name, "freed": freed} for name, freed in removed], indent=2))
    elif not quiet:
        for name, freed in removed:
            click.echo(f"Removed {name}: {size_text(freed)} are free again.")


def _ask(cache: ModelCache, wanted: list[ModelRef], can_ask: bool) -> None:
    """Goes on after a yes only. Nothing that is here: no question, ``remove`` tells that."""
    doomed = [named for ref in wanted for named in _meant(cache, ref)]
    if not doomed:
        return
    if not can_ask:
        raise click.UsageError("nobody can be asked here; --yes removes without asking")
    for name, size in doomed:
        click.echo(f"  {name}  {size_text(size)}", err=True)
    click.confirm(
        "Remove this?" if len(doomed) == 1 else f"Remove these {len(doomed)}?", abort=True, err=True
    )


def _meant(cache: ModelCache, ref: ModelRef) -> list[tuple[str, int]]:
    """What would go with ``ref``, by name, and its bytes."""
    if ref.repo_id is not None and ref.file_name is None and ref.quant is None:
        models, rest = cache.models_of(ref.repo_id), cache.rest_of(ref.repo_id)
        others = [(f"{ref.name}: other files and unfinished downloads", rest)] if rest else []
        return [(model.name, model.size) for model in models] + others
    path = cache.find(ref)
    listed = [(model.name, model.size) for model in cache.list() if model.path == path]
    # A projector, or what lies beside models else, is on no list.
    return listed if listed or path is None else [(ref.name, file_size(path))]


def _entry(model: CachedModel) -> dict[str, str | int | float | None]:
    return {
        "model": model.name,
        "quant": quant_of(model) or None,
        "size": model.size,
        "last_used": model.last_used,
        "path": str(model.path),
    }


def quant_of(model: CachedModel) -> str:
    """What the weights are stored as: by the file's name, or else by its header; "" when neither tells."""
    named = _QUANT.search(model.path.name)
    if named is not None:
        return named[1].upper()
    return details_of(model.name, model.path)["quantization"] or ""


def _show(models: list[CachedModel]) -> None:
    rows = [_HEADINGS, *(_row(model) for model in models)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    for number, row in enumerate(rows):
        cells = (
            f"{cell:>{width}}" if column == _TO_THE_RIGHT else f"{cell:<{width}}"
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        click.echo(click.style("  ".join(cells).rstrip(), bold=number == 0))
    if sys.stdout.isatty() and len(models) > 1:
        total = size_text(sum(model.size for model in models))
        click.secho(f"{len(models)} models, {total}", dim=True, err=True)


def _row(model: CachedModel) -> tuple[str, str, str, str]:
    used = datetime.fromtimestamp(model.last_used).strftime("%Y-%m-%d %H:%M")
    return model.name, quant_of(model), size_text(model.size), used
