"""The README keeps its promises: its examples run against a real host, its tables agree with the code."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from api_host.config import HostConfig
from api_host.engine import memory
from api_host.errors import ApiHostError
from api_host.generation import SamplingParams
from api_host.host import ApiHost
from api_host.kv_cache import kv_cache
from tests.examples import Example, check_each_is_run_or_says_why_not, examples_in

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
SEEN_AT_THE_HOST_ALONE = {"ports_taken", "tunnel_failed"}
T4_FREE_BYTES = 15_800_000_000


EXAMPLES = examples_in(README)
TO_RUN = [example for example in EXAMPLES if example.not_run is None]


def table_below(heading: str, first_cell: str) -> list[list[str]]:
    """The rows of the table under a heading whose header begins with ``first_cell``."""
    section = README.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    table = section.split(f"| {first_cell} |")[1].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in table]


@pytest.fixture(scope="module")
def host() -> Iterator[ApiHost]:
    with ApiHost(model="demo", tunnel=False, port=0) as host:
        yield host


@pytest.mark.parametrize("example", TO_RUN, ids=str)
def test_an_example_runs_and_prints_what_it_should(example: Example, host: ApiHost, tmp_path: Path) -> None:
    example.run(host, tmp_path)


def test_every_example_is_run_or_says_why_not() -> None:
    assert len(TO_RUN) >= 6
    check_each_is_run_or_says_why_not(EXAMPLES)


def test_every_link_into_the_repository_leads_somewhere() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_table_of_errors_is_the_tree_of_errors() -> None:
    def below(kind: type[ApiHostError]) -> Iterator[type[ApiHostError]]:
        yield kind
        for child in kind.__subclasses__():
            yield from below(child)

    owned = {(kind.status, kind.code) for kind in below(ApiHostError) if "code" in vars(kind)}
    told = {(int(status), code.strip("`")) for status, code, _ in table_below("The API", "status")}
    assert told == {(status, code) for status, code in owned if code not in SEEN_AT_THE_HOST_ALONE}


def test_the_table_of_settings_has_every_setting_with_its_default() -> None:
    told = {name.strip("`"): default.strip("`") for name, default, _ in table_below("Settings", "setting")}
    assert told.keys() == HostConfig.model_fields.keys()
    for name, field in HostConfig.model_fields.items():
        if field.default is None:
            continue
        shown = json.dumps(field.default) if isinstance(field.default, bool) else str(field.default)
        assert told[name].removesuffix(".0") == shown.removesuffix(".0"), name


def test_every_sampling_parameter_is_named_with_its_default_where_one_is_given() -> None:
    (row,) = [row for row in table_below("The API", "field") if row[0] == "`parameters`"]
    told = dict(re.findall(r"`(\w+)`(?: \(([\d.]+)\))?", row[1]))
    fields = SamplingParams()
    assert told.keys() == vars(fields).keys()
    assert {name: float(default) for name, default in told.items() if default} == {
        name: float(getattr(fields, name)) for name, default in told.items() if default
    }


@pytest.mark.parametrize("row", table_below("A model for a T4", "model, Q4_K_M"), ids=lambda row: row[0])
def test_the_arithmetic_for_a_t4_is_the_hosts_own(row: list[str]) -> None:
    _, file_gb, layers, heads, kb_per_token, sequences = row
    n_heads, size = map(int, re.findall(r"\d+", heads))
    metadata = {
        "general.architecture": "llama",
        "llama.block_count": int(layers),
        "llama.attention.head_count": 32,
        "llama.attention.head_count_kv": n_heads,
        "llama.attention.key_length": size,
        "llama.attention.value_length": size,
    }
    cache = kv_cache(metadata)
    assert f"{cache.per_token / 1000:.1f}" == kb_per_token
    shape = memory.Shape(int(layers), int(float(file_gb) * 1e9), cache)
    placed = memory.place_on_gpu(shape, 4096, None, None, T4_FREE_BYTES)
    assert (placed.n_gpu_layers, placed.n_ctx, placed.n_slots) == (int(layers) + 1, 4096, int(sequences))
