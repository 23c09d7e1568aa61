"""Where llama.cpp's source lies, if it is here: of the version of the installed bindings, as bench/ keeps it."""

from __future__ import annotations

import os
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
SDIST = Path(
    os.environ.get("BENCH_LLAMA_SOURCE")
    or ROOT / f"bench/.cache/llama_cpp_python-{version('llama-cpp-python')}"
)
LLAMA_SOURCE = SDIST / "vendor" / "llama.cpp"
MISSING = "no source of llama.cpp here; `python -m bench --quick` fetches it"
