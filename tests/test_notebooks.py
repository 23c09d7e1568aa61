"""The notebooks: their cells, unedited, in a real kernel, steered by the environment as a user could; their presets."""

from __future__ import annotations

import copy
import os
import re
import subprocess
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest

from api_host import gguf_header
from api_host.engine import memory
from api_host.host import ApiHost
from api_host.kv_cache import kv_cache
from api_host.models.reference import parse_reference
from tests.fakes.processes import below
from tests.notebook.running import html_of, run

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"
HOST_NOTEBOOKS = ["api_host_colab.ipynb", "api_host_kaggle.ipynb"]
TOKEN = "my-long-secret"


def read(name: str) -> Any:
    return nbformat.read(NOTEBOOKS / name, as_version=4)


def cell_of(notebook: Any, cell_id: str) -> Any:
    return next(cell for cell in notebook.cells if cell.id == cell_id)


def source_of(name: str, cell_id: str) -> str:
    return str(cell_of(read(name), cell_id).source)


def printed(notebook: Any, cell_id: str) -> str:
    """What a cell printed."""
    outputs = cell_of(notebook, cell_id).outputs
    return "".join(output.text for output in outputs if output.get("name") == "stdout")


@pytest.fixture
def quiet_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Only the settings that a test makes; and no process of a kernel is left afterwards."""
    for name in [name for name in os.environ if name.startswith("API_HOST_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    before = below()
    yield
    _, alive = psutil.wait_procs(below() - before, timeout=10)
    assert alive == []


@pytest.mark.parametrize("name", ["client.ipynb", *HOST_NOTEBOOKS])
def test_a_notebook_is_valid_small_and_has_no_outputs(name: str) -> None:
    notebook = read(name)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert (NOTEBOOKS / name).stat().st_size < 20_000
    assert all(cell.outputs == [] for cell in notebook.cells if cell.cell_type == "code")


@pytest.mark.parametrize("name", HOST_NOTEBOOKS)
@pytest.mark.usefixtures("quiet_environment")
def test_a_host_notebook_runs_from_top_to_bottom(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("API_HOST_MODEL", "demo")
    monkeypatch.setenv("API_HOST_TUNNEL", "false")
    monkeypatch.setenv("API_HOST_TOKEN", TOKEN)
    monkeypatch.setenv("API_HOST_PORT", "0")
    notebook = read(name)
    start = next(at for at, cell in enumerate(notebook.cells) if cell.id == "start")
    notebook.cells.insert(start + 1, copy.deepcopy(notebook.cells[start]))
    notebook.cells[start + 1].id = "start-again"
    kernel = run(notebook, tmp_path)
    assert "Everything is installed." in printed(notebook, "install")
    links = re.findall(
        r'href="(http://127[^"#]+)"', "".join(shown["data"]["text/html"] for shown in kernel.shown)
    )
    assert len(links) == 3 and len(set(links)) == 1, "the cell that ran again found the host that ran"
    assert "Paris" in printed(notebook, "try")
    assert "Serving until interrupted" in printed(notebook, "serve")
    assert "has stopped" in html_of(cell_of(notebook, "serve"))[0]
    shown_tokens = [shown for shown in kernel.shown if TOKEN in shown["data"]["text/html"]]
    assert len(shown_tokens) == 1, "only the cell that asks for the token shows it"
    assert TOKEN not in nbformat.writes(notebook)


@pytest.mark.usefixtures("quiet_environment")
def test_what_a_notebook_saves_after_a_run_is_small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("API_HOST_MODEL", "demo")
    monkeypatch.setenv("API_HOST_TUNNEL", "false")
    monkeypatch.setenv("API_HOST_PORT", "0")
    notebook = read(HOST_NOTEBOOKS[0])
    before = len(nbformat.writes(notebook))
    run(notebook, tmp_path)
    assert len(nbformat.writes(notebook)) - before < 8_000


PRESETS_TABLE = re.findall(
    r"^\| (?!preset|-)(.*) \|$", source_of(HOST_NOTEBOOKS[0], "about-preset"), re.MULTILINE
)


@pytest.mark.parametrize("row", PRESETS_TABLE, ids=lambda row: row.split(" | ")[0])
def test_a_preset_fits_by_the_hosts_own_arithmetic(row: str) -> None:
    name, reference, file_gb, layers, heads, kb_per_token, free_gb, context, sequences = row.split(" | ")
    n_heads, size = map(int, re.findall(r"\d+", heads))
    header: dict[str, gguf_header.Value] = {
        "general.architecture": "any",
        "any.block_count": int(layers),
        "any.attention.head_count": 32,
        "any.attention.head_count_kv": n_heads,
        "any.attention.key_length": size,
        "any.attention.value_length": size,
    }
    cache = kv_cache(header)
    assert f"{cache.per_token / 1000:.1f}" == kb_per_token
    shape = memory.Shape(int(layers), int(float(file_gb) * 1e9), cache)
    free = int(float(free_gb) * 1e9)
    if name == "no GPU":
        placed = memory.place_on_cpu(shape, int(context), None, free)
    else:
        placed = memory.place_on_gpu(shape, int(context), None, None, free)
        assert placed.n_gpu_layers == int(layers) + 1
    assert (placed.n_ctx, placed.n_slots) == (int(context), int(sequences))
    parse_reference(reference)


def presets_of(name: str, monkeypatch: pytest.MonkeyPatch, folder: Path, gpus: str | None) -> dict[str, Any]:
    """The names that the cell of presets leaves, on a machine whose nvidia-smi tells of these GPUs (None: has none)."""
    if gpus is not None:
        (folder / "nvidia-smi").write_text(f"#!/bin/sh\nprintf '{gpus}'\n")
        (folder / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/bin")
    names: dict[str, Any] = {}
    exec(compile(source_of(name, "preset"), "preset", "exec"), names)
    return names


@pytest.mark.parametrize("name", HOST_NOTEBOOKS)
def test_the_presets_are_those_of_the_table(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    told = {
        row[0]: {"model": row[1], "ctx_length": int(row[7])}
        for row in (line.split(" | ") for line in PRESETS_TABLE)
    }
    assert len(told) == 5
    assert presets_of(name, monkeypatch, tmp_path, None)["PRESETS"] == told
    assert source_of(name, "about-preset") == source_of(HOST_NOTEBOOKS[0], "about-preset")


@pytest.mark.parametrize(
    ("gpus", "preset"),
    [
        ("Tesla T4\\n", "T4"),
        ("Tesla T4\\nTesla T4\\n", "T4 x2"),
        ("Tesla P100-PCIE-16GB\\n", "P100"),
        ("", "no GPU"),
        (None, "no GPU"),
    ],
)
def test_the_preset_follows_from_the_gpus(
    gpus: str | None, preset: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert presets_of(HOST_NOTEBOOKS[0], monkeypatch, tmp_path, gpus)["PRESET"] == preset


@pytest.mark.usefixtures("quiet_environment")
def test_the_client_notebook_runs_against_a_host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with ApiHost(model="demo", tunnel=False, port=0) as host:
        monkeypatch.setenv("API_HOST_URL", host.local_url)
        monkeypatch.setenv("API_HOST_TOKEN", str(host.access_token))
        notebook = read("client.ipynb")
        run(notebook, tmp_path)
    assert printed(notebook, "connect") == "ok\n"
    assert "demo loaded" in printed(notebook, "models")
    assert "Tokyo" in printed(notebook, "openai")
    first, second = printed(notebook, "chat").splitlines()
    assert "Paris" in first and "Rome" in second
    assert "tokens in" in printed(notebook, "stream")
    assert len(printed(notebook, "complete").strip()) > 5
    assert "wind" in printed(notebook, "compare")
    rows = printed(notebook, "annotate")
    assert all(city in rows for city in ("Paris", "Madrid", "Tokyo"))


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with pip and nothing else, as a fresh machine has it."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, with_pip=True)
    return folder / "bin" / "python"


@pytest.mark.parametrize("name", HOST_NOTEBOOKS)
@pytest.mark.parametrize("gpu", [True, False])
def test_a_wheel_that_is_not_there_fails_at_once_with_the_next_step(
    name: str, gpu: bool, bare_python: Path, tmp_path: Path
) -> None:
    (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\nexit {0 if gpu else 9}\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    no_index = {"PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull, "PATH": f"{tmp_path}:/usr/bin:/bin"}
    done = subprocess.run(
        [bare_python, "-c", source_of(name, "install")],
        env=no_index,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 1
    reason = done.stderr.strip().splitlines()[-1]
    assert reason.startswith("RuntimeError: pip could not install a prebuilt llama-cpp-python==0.3.36")
    assert ("cu124" in reason) == gpu
    assert ("DGGML_CUDA=on" in reason) == gpu
    assert "minutes" in reason
    assert ("For a GPU:" in done.stdout) == (not gpu)


def test_the_install_cells_pin_one_wheel_and_upgrade_nothing() -> None:
    for name in HOST_NOTEBOOKS:
        source = source_of(name, "install")
        assert '"--only-binary=llama-cpp-python"' in source
        assert '"-U"' not in source and "--upgrade" not in source
