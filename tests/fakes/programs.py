"""Programs that stand in for a machine's own, put before them on the PATH."""

from __future__ import annotations

import os
from pathlib import Path


def program(folder: Path, name: str, script: str) -> Path:
    """A program of that name in ``folder``, which is made."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def with_first(folder: Path) -> str:
    """The PATH with ``folder`` before all others."""
    return f"{folder}{os.pathsep}{os.environ['PATH']}"
