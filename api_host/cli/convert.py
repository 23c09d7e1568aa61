"""``api-host convert``: turns a GGML file from before GGUF into a GGUF beside it. Starts no host and asks no hub."""

from __future__ import annotations

from pathlib import Path

import click

from api_host.cli import options
from api_host.cli.bars import Bar
from api_host.cli.sizes import size_text
from api_host.models.ggml import convert_file
from api_host.models.ggml.convert import DEFAULT_N_CTX, MAX_N_CTX

EXAMPLES = """
\b
Examples:
  api-host convert llama-7b.ggmlv3.q4_0.bin
  api-host convert llama-2-13b.ggmlv3.q5_1.bin --ctx-length 4096 --rms-norm-eps 1e-5
"""


@click.command(epilog=EXAMPLES)
@click.argument("path", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--ctx-length",
    type=click.IntRange(1, MAX_N_CTX),
    default=DEFAULT_N_CTX,
    show_default=True,
    help="Tokens of context the model was trained with: LLaMA 2048, Llama 2 4096.",
)
@click.option(
    "--rms-norm-eps",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="LLaMA 1e-6, Llama 2 1e-5. [default: 1e-6; 1e-5 with grouped-query attention]",
)
@options.quiet("Print the path alone, and no bar.")
def convert(path: Path, ctx_length: int, rms_norm_eps: float | None, quiet: bool) -> None:
    """Turn PATH, a LLaMA model in a GGML file, into a GGUF beside it; print the GGUF's path, then its size."""
    with Bar(quiet=quiet) as bar:
        result = convert_file(
            path,
            n_ctx=ctx_length,
            rms_norm_eps=rms_norm_eps,
            on_progress=lambda done, total: bar.show(path.name, done, total),
        )
    click.echo(result)
    if not quiet:
        click.echo(f"{result.name}: {size_text(result.stat().st_size)}", err=True)
