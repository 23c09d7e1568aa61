"""The pages of docs/ keep their promises: examples run, links lead somewhere, figures are those of the code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TypeVar

import pytest

import api_host
from api_host import gguf_header
from api_host.config import MAX_BODY_BYTES, HostConfig
from api_host.engine import memory
from api_host.errors import ApiHostError, OutOfMemory
from api_host.generation import SamplingParams
from api_host.host import ApiHost
from api_host.kv_cache import kv_cache
from api_host.models.gguf_files import PREFERRED_QUANTS
from api_host.web import client_socket, connection, server, sockets
from api_host_client import errors as client_errors
from tests.examples import RUNNABLE, Example, check_each_is_run_or_says_why_not, examples_in

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
OF_ITS_OWN = {"apis.md"}  # tests/test_docs.py runs that one
PAGES = sorted(page for page in DOCS.glob("*.md") if page.name not in OF_ITS_OWN)
LINKING = [
    *sorted(DOCS.glob("*.md")),
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
]
FREE_BYTES = {"T4": 15_800_000_000, "P100": 17_000_000_000, "T4 x2": 31_600_000_000, "no GPU": 11_000_000_000}

Kind = TypeVar("Kind")


def commands_in(page: Path) -> list[Example]:
    """The blocks of a page that are code; a block without a language is a drawing."""
    return [example for example in examples_in(page.read_text()) if example.language]


TO_RUN = [
    pytest.param(example, id=f"{page.stem}-{example}")
    for page in PAGES
    for example in commands_in(page)
    if example.not_run is None
]


def text_of(name: str) -> str:
    return (DOCS / name).read_text()


def table(name: str, first_cell: str, heading: str | None = None) -> list[list[str]]:
    """The rows of the first table below a heading whose header begins with ``first_cell``."""
    text = text_of(name)
    if heading is not None:
        text = text.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = text.split(f"| {first_cell} |")[1].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row.strip("|"))] for row in rows]


def below(kind: type[Kind]) -> Iterator[type[Kind]]:
    yield kind
    for child in kind.__subclasses__():
        yield from below(child)


@pytest.mark.parametrize("example", TO_RUN)
def test_an_example_runs_and_prints_what_it_should(
    example: Example, demo_host: ApiHost, tmp_path: Path
) -> None:
    example.run(demo_host, tmp_path)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_example_is_run_or_says_why_not(page: Path) -> None:
    commands = commands_in(page)
    assert {example.language for example in commands} <= set(RUNNABLE)
    check_each_is_run_or_says_why_not(commands)


def anchors_of(page: Path) -> set[str]:
    """The addresses of a page's headings, as GitHub makes them."""
    without_code = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.+)$", without_code, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", LINKING, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_leads_to_a_file_and_a_heading_that_are_there(page: Path) -> None:
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text()):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors_of(target), link


def test_the_index_lists_every_page() -> None:
    listed = set(re.findall(r"^\| \[\w+\]\((\w+\.md)\)", text_of("README.md"), re.MULTILINE))
    assert listed == {page.name for page in DOCS.glob("*.md")} - {"README.md"}


def test_no_error_of_the_host_is_without_a_cure() -> None:
    owned = {kind.code: kind.status for kind in below(ApiHostError) if "code" in vars(kind)}
    told = {code.strip("`"): int(status[:3]) for code, status, _, _ in table("troubleshooting.md", "code")}
    assert told == owned


def test_no_refusal_of_the_server_is_without_a_cure() -> None:
    rows = table("troubleshooting.md", "code", "Refused before a route")
    told = {(status, code.strip("`")) for code, status, _, _ in rows}
    in_the_tree = {kind.code for kind in below(ApiHostError)}
    assert told == {(status, code) for status, code in connection._CODES.items() if code not in in_the_tree}


def test_no_error_of_the_way_to_the_host_is_without_a_cure() -> None:
    rows = table("troubleshooting.md", "exception")
    told = {name for row in rows for name in re.findall(r"`(\w+)`", row[0])}
    families = (client_errors.EdgeError, client_errors.ConnectionFailed, client_errors.BadAnswer)
    families_only = {"EdgeError", "BadAnswer"}
    on_the_way = {kind.__name__ for family in families for kind in below(family)} - families_only
    assert told == {*on_the_way, client_errors.BadArgument.__name__}


@cache
def said_by_the_host() -> str:
    """Every text in the host's source, in the pieces between the values that are put into it."""
    files = Path(api_host.__file__).parent.rglob("*.py")
    nodes = (node for file in files for node in ast.walk(ast.parse(file.read_text())))
    return "\n".join(
        node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


@pytest.mark.parametrize("heading", ["The tunnel", "The GPU and the model"])
def test_a_message_that_is_quoted_is_one_that_the_host_says(heading: str) -> None:
    quoted = [
        row[0].strip("`") for row in table("troubleshooting.md", "you see", heading) if row[0].startswith("`")
    ]
    assert len(quoted) >= 5
    said = said_by_the_host()
    assert [words for words in quoted if words not in said] == []


def test_the_arithmetic_is_told_with_the_figures_that_it_uses() -> None:
    text = text_of("models.md")
    assert f"size of the GGUF × {memory.WEIGHTS_OVERHEAD} |" in text  # noqa: RUF001 - as it is printed
    assert f"{memory.GPU_RESERVE / 1e6:.0f} MB on a GPU, {memory.HOST_RESERVE / 1e6:.0f} MB of host" in text
    assert f"tries {memory.GPU_SLOTS} on a GPU and {memory.CPU_SLOTS} on a CPU" in text
    assert f"down to {memory.MIN_CTX} tokens" in text
    assert f"the first of {', '.join(PREFERRED_QUANTS[:6])}, ..." in text


def placed(shape: memory.Shape, machine: str, n_ctx: int) -> str:
    """As the table writes it: sequences at once, ``part`` of the layers, 0 for a shorter context, or ``none``."""
    free = FREE_BYTES[machine]
    if machine == "no GPU":
        try:
            found = memory.place_on_cpu(shape, n_ctx, None, free)
        except OutOfMemory:
            return "none"
    else:
        found = memory.place_on_gpu(shape, n_ctx, None, None, free)
        if found.n_gpu_layers <= shape.n_layer:
            return "part"
    return str(found.n_slots) if found.n_ctx == n_ctx else "0"


@pytest.mark.parametrize("row", table("models.md", "model"), ids=lambda row: row[0])
def test_what_fits_where_is_the_hosts_own_arithmetic(row: list[str]) -> None:
    _, file_gb, layers, windowed, heads, *fits = row
    n_heads, size = map(int, re.findall(r"\d+", heads))
    n_windowed, window = map(int, re.findall(r"\d+", windowed) or (0, 0))
    metadata: dict[str, gguf_header.Value] = {
        "general.architecture": "gemma4",
        "gemma4.block_count": int(layers),
        "gemma4.attention.head_count": 32,
        "gemma4.attention.head_count_kv": n_heads,
        "gemma4.attention.key_length": size,
        "gemma4.attention.value_length": size,
        "gemma4.attention.sliding_window": window,
        "gemma4.attention.sliding_window_pattern": [1] * n_windowed,
    }
    shape = memory.Shape(int(layers), int(float(file_gb) * 1e9), kv_cache(metadata))
    for machine, told in zip(FREE_BYTES, fits, strict=True):
        short, long = (placed(shape, machine, n_ctx) for n_ctx in (4096, 16_384))
        assert told == (short if short in ("part", "none") else f"{short} ({long})"), machine


def test_the_bounds_are_told_as_they_are() -> None:
    told = {row[0]: row[1] for row in table("reliability.md", "bound")}
    assert told == {
        "sequences at once, a model": f"`parallel` ({memory.GPU_SLOTS} on a GPU, {memory.CPU_SLOTS} on a CPU)",
        "requests that wait, a model": f"`queue_limit` ({HostConfig.model_fields['queue_limit'].default})",
        "connections being answered": str(server.THREADS),
        "connections that wait": str(server.QUEUE),
        "WebSockets": str(sockets.MAX_OPEN),
        "a body": f"{MAX_BODY_BYTES // 2**20} MB",
        "a request's head": f"{server.MAX_HEAD_BYTES // 2**10} KiB, within {connection.HEAD_S:.0f} s",
        "a body's arrival": f"{connection.BODY_S:.0f} s, {client_socket.STALL_S:.0f} s between bytes",
    }


def test_the_pages_name_the_defaults_that_a_request_has() -> None:
    assert f"`max_tokens` ({SamplingParams().max_tokens})" in text_of("troubleshooting.md")
