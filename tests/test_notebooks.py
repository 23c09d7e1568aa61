"""The notebooks' code cells, unedited, in a real kernel: steered by the environment, as a user could."""

from __future__ import annotations

import asyncio
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
from nbclient import NotebookClient

from api_host.host import ApiHost

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"
HOST_NOTEBOOKS = ["api_host_colab.ipynb", "api_host_kaggle.ipynb"]
CELL_TIMEOUT_S = 60
SERVING = "Serving until interrupted"


def read(name: str) -> Any:
    return nbformat.read(NOTEBOOKS / name, as_version=4)


def source_of(name: str, cell_id: str) -> str:
    return next(str(cell.source) for cell in read(name).cells if cell.id == cell_id)


def printed(notebook: Any, cell_id: str) -> str:
    """What a cell printed."""
    cell = next(cell for cell in notebook.cells if cell.id == cell_id)
    return "".join(output.text for output in cell.outputs if output.get("name") == "stdout")


def local_url(text: str) -> str:
    found = re.search(r"Local URL: (http://127\.0\.0\.1:\d+)", text)
    assert found, text
    return found[1]


class Kernel(NotebookClient):
    """Runs a notebook, and interrupts the kernel when a cell says that it serves until then."""

    def process_message(self, msg: Any, cell: Any, cell_index: int) -> Any:
        made = super().process_message(msg, cell, cell_index)
        if msg["msg_type"] == "stream" and SERVING in msg["content"]["text"]:
            kernel: Any = self.km
            self.interruption = asyncio.ensure_future(kernel.interrupt_kernel())
        return made


def run(notebook: Any, folder: Path) -> Any:
    Kernel(
        notebook,
        timeout=CELL_TIMEOUT_S,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
    ).execute()
    return notebook


@pytest.fixture
def quiet_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Only the settings that a test makes; and no process of a kernel is left afterwards."""
    for name in [name for name in os.environ if name.startswith("API_HOST_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    before = set(psutil.Process().children(recursive=True))
    yield
    _, alive = psutil.wait_procs(set(psutil.Process().children(recursive=True)) - before, timeout=10)
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
    monkeypatch.setenv("API_HOST_TOKEN", "my-long-secret")
    monkeypatch.setenv("API_HOST_PORT", "0")
    notebook = read(name)
    start = next(at for at, cell in enumerate(notebook.cells) if cell.id == "start")
    notebook.cells.insert(start + 1, copy.deepcopy(notebook.cells[start]))
    notebook.cells[start + 1].id = "start-again"
    run(notebook, tmp_path)
    assert "Everything is installed." in printed(notebook, "install")
    assert "my-long-secret" in printed(notebook, "start").splitlines()[0]
    assert local_url(printed(notebook, "start-again")) == local_url(printed(notebook, "start"))
    assert "Paris" in printed(notebook, "try")
    assert SERVING in printed(notebook, "serve")


@pytest.mark.usefixtures("quiet_environment")
def test_the_client_notebook_runs_against_a_host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with ApiHost(model="demo", tunnel=False, port=0) as host:
        monkeypatch.setenv("API_HOST_URL", host.local_url)
        monkeypatch.setenv("API_HOST_TOKEN", str(host.access_token))
        notebook = run(read("client.ipynb"), tmp_path)
    assert printed(notebook, "connect") == "ok\n"
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
