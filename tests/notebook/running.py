"""Runs a notebook's cells in a real kernel, and keeps all that the kernel has shown.

Knows nothing of what the cells do, except how a cell says that it serves until it is interrupted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

CELL_TIMEOUT_S = 60
SERVING = "Serving until interrupted"


class Kernel(NotebookClient):
    """Interrupts the kernel when a cell says that it serves until then; ``shown`` are the displays, as they came."""

    def __init__(self, notebook: Any, folder: Path) -> None:
        resources = {"metadata": {"path": str(folder)}}
        super().__init__(notebook, timeout=CELL_TIMEOUT_S, kernel_name="python3", resources=resources)
        self.shown: list[dict[str, Any]] = []

    def process_message(self, msg: Any, cell: Any, cell_index: int) -> Any:
        kind = msg["msg_type"]
        if kind in ("display_data", "update_display_data"):
            self.shown.append({"kind": kind, "at": msg["header"]["date"], **msg["content"]})
        made = super().process_message(msg, cell, cell_index)
        if kind == "stream" and SERVING in msg["content"]["text"]:
            kernel: Any = self.km
            self.interruption = asyncio.ensure_future(kernel.interrupt_kernel())
        return made


def notebook_of(sources: Iterable[str]) -> Any:
    """A notebook of these cells of code."""
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])


def run(notebook: Any, folder: Path) -> Kernel:
    """Runs a notebook from top to bottom in ``folder``; its outputs are in it then. Raises what a cell raised."""
    kernel = Kernel(notebook, folder)
    kernel.execute()
    return kernel


def html_of(cell: Any) -> list[str]:
    """What a cell's output shows as HTML, as it would be saved."""
    return [output.data["text/html"] for output in cell.outputs if "text/html" in output.get("data", {})]
