"""The package itself: what it brings along, and that its examples run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from api_host_client import Client
from tests.fakes.edge import DONE, Edge, events, json_reply, text

README = Path(__file__).parents[2] / "client" / "README.md"
PRINT_MODULES = "import sys; print(*sorted({name.partition('.')[0] for name in sys.modules}))"


def top_modules_after(statement: str) -> set[str]:
    ran = subprocess.run(
        [sys.executable, "-c", f"{statement}; {PRINT_MODULES}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return set(ran.stdout.split())


def test_importing_the_client_brings_in_requests_and_the_standard_library_only() -> None:
    brought = top_modules_after("import api_host_client") - top_modules_after("import requests")
    assert brought - set(sys.stdlib_module_names) == {"api_host_client"}


def test_its_licence_is_in_its_own_folder_for_that_alone_is_packed() -> None:
    root = README.parents[1]
    assert (root / "client" / "LICENSE").read_text() == (root / "LICENSE").read_text()


def test_the_examples_of_the_readme_run(edge: Edge, client: Client, capsys: object) -> None:
    examples = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    answer = {"answer": {"role": "assistant", "content": "yes"}, "model": "demo"}
    loaded = {"name": "owner/name:Q4_K_M", "status": "loaded"}
    assert examples
    for example in examples:
        assert len(example.splitlines()) <= 24

        def reply(seen: object) -> object:
            path, method = seen.path, seen.method  # type: ignore[attr-defined]
            if path == "/api/models/load":
                return json_reply({"model": loaded}, 202)
            if path == "/api/models":
                return json_reply({"models": [loaded]})
            if path == "/health":
                return json_reply({"status": "ok", "version": "0.1.0"})
            if method == "POST" and path == "/api" and seen.json.get("stream"):  # type: ignore[attr-defined]
                return events(text("yes"), DONE)
            return json_reply(answer)

        edge.script[:] = [reply] * 20  # type: ignore[list-item]
        exec(compile(example, str(README), "exec"), {"url": edge.url, "token": "a-token"})
