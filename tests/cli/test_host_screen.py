"""The picture of a host: each state that a person can meet, drawn from facts made by hand."""

from __future__ import annotations

import io
import time
from dataclasses import replace

import pytest

from api_host.cli.host_screen import Picture
from api_host.cli.screen import console_on
from api_host.facts import Addresses, Facts, ModelFacts
from api_host.gpus import Gpu
from api_host.metrics import Failure

LOCAL = "http://127.0.0.1:5000"
IDLE = Facts(
    addresses=Addresses(local=LOCAL),
    uptime=725.0,
    default_model=None,
    models=(),
    gpus=(),
    memory_used=3_200_000_000,
    memory_total=12_700_000_000,
    requests=1234,
    tokens=45_120,
    tokens_per_second=312.4,
    last_failure=None,
)
LOADED = ModelFacts(
    "owner/name:Q4_K_M",
    "loaded",
    description="qwen2 7B Q4_K",
    device="Tesla T4",
    n_ctx=4096,
    n_slots=8,
    n_layer=28,
    n_gpu_layers=29,
    notes=("the context is 4096 tokens",),
)


def drawn(facts: Facts, picture: Picture | None = None, width: int = 110) -> str:
    out = io.StringIO()
    console = console_on(out)
    console.width = width
    console.print((picture or Picture("API Host 1.2.3", "printed above")).of(facts))
    return out.getvalue()


def rows(facts: Facts) -> dict[str, str]:
    """The lines by their first words; those without stay with the line above."""
    found: dict[str, str] = {}
    name = ""
    for line in drawn(facts).splitlines():
        head, _, rest = line.partition("  ")
        name = head if head else name
        found[name] = f"{found.get(name, '')} {rest.strip()}".strip()
    return found


def test_it_shows_figures_with_their_units() -> None:
    shown = rows(IDLE)
    assert shown["API Host 1.2.3"] == "up 12 min 05 s"
    assert shown["Local URL"] == LOCAL
    assert shown["Token"] == "printed above"
    assert shown["Memory"] == "3.2 GB of 12.7 GB used"
    assert shown["Requests"] == "1,234 ended, 0 running, 0 waiting"
    assert shown["Tokens"] == "45,120 generated, 312 a second now"
    assert shown["Model"].startswith("none yet")
    assert "Public URL" not in shown and "Last error" not in shown and "GPU 0" not in shown


@pytest.mark.parametrize(
    ("addresses", "told"),
    [
        (Addresses(LOCAL, "https://a-b.trycloudflare.com", None, True), "https://a-b.trycloudflare.com"),
        (Addresses(LOCAL, None, None, True), "being asked for"),
        (Addresses(LOCAL, None, "no network: connect\x1b[2J", True), "none: no network: connect[2J"),
    ],
)
def test_it_says_how_it_stands_with_the_public_url(addresses: Addresses, told: str) -> None:
    assert told in rows(replace(IDLE, addresses=addresses))["Public URL"]


def test_it_shows_a_loaded_model_with_what_was_chosen_and_the_gpu() -> None:
    gpu = Gpu(0, "Tesla T4", "550.54", 87.0, 5_000.0, 10_000.0, 15_000.0)
    shown = rows(replace(IDLE, models=(LOADED,), gpus=(gpu,)))
    assert "owner/name:Q4_K_M  loaded" in drawn(replace(IDLE, models=(LOADED,)))
    assert "8 sequences of 4,096 tokens, 29 of 29 layers on the GPU" in shown["Model"]
    assert "the context is 4096 tokens" in shown["Model"]
    assert shown["GPU 0"] == "Tesla T4, 5.24 GB of 15.7 GB used, 87 % busy"
    no_load = replace(gpu, load=None)
    assert rows(replace(IDLE, gpus=(no_load,)))["GPU 0"] == "Tesla T4, 5.24 GB of 15.7 GB used"


def test_it_shows_how_far_a_download_is_how_fast_and_how_long_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = Picture("API Host", "")
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    model = ModelFacts("owner/name", "downloading", bytes_done=100_000_000, bytes_total=1_000_000_000)
    first = drawn(replace(IDLE, models=(model,)), picture)
    assert "10% of 1 GB" in first and "/s" not in first
    now = 102.0
    second = drawn(replace(IDLE, models=(replace(model, bytes_done=200_000_000),)), picture)
    assert "20% of 1 GB, 50 MB/s, 16 s left" in second
    unknown = drawn(replace(IDLE, models=(replace(model, bytes_total=None, bytes_done=5_000_000),)), picture)
    assert "5 MB" in unknown


def test_it_shows_why_a_model_failed_and_the_last_error_of_a_request() -> None:
    failed = ModelFacts("owner/name", "failed", error="no such\x1b[31m repository")
    failure = Failure("/api", 400, "temperature: too high", time.monotonic() - 65)
    shown = rows(replace(IDLE, models=(failed, LOADED), last_failure=failure))
    assert "no such[31m repository" in shown["Models"]
    assert shown["Last error"] == "400 at /api, 1 min 05 s ago: temperature: too high"


def test_a_loading_model_tells_for_how_long() -> None:
    loading = ModelFacts("owner/name", "loading", seconds=75.2)
    assert "for 1 min 15 s" in rows(replace(IDLE, models=(loading,)))["Model"]


@pytest.mark.parametrize("width", [40, 60])
def test_a_narrow_terminal_wraps_and_cuts_nothing(width: int) -> None:
    address = "https://some-quite-long-words-of-a-tunnel.trycloudflare.com"
    facts = replace(IDLE, models=(LOADED,), addresses=Addresses(LOCAL, address, None, True))
    shown = drawn(facts, width=width)
    assert max(map(len, shown.splitlines())) <= width
    assert address in shown.replace(" ", "").replace("\n", "")
    assert "…" not in shown
