"""The map in docs/architecture.md is true: it names every module, and no other."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
HOST = ROOT / "api_host"
CLIENT = ROOT / "client" / "api_host_client"


def modules_on_the_map() -> set[str]:
    """The Python files that the tree in docs/architecture.md draws under api_host/ and client/.

    A folder's indentation opens it; every ``name.py`` on a line belongs to the folder that is open there.
    """
    text = (ROOT / "docs" / "architecture.md").read_text()
    block = re.search(r"## Folders\s+```\n(.*?)```", text, re.DOTALL)
    assert block, "docs/architecture.md has no block of code under '## Folders'"
    found: set[str] = set()
    open_folders: list[tuple[int, str]] = []
    for line in block[1].splitlines():
        indent = len(line) - len(line.lstrip())
        open_folders = [(depth, name) for depth, name in open_folders if depth < indent]
        folder = re.match(r"\s*([\w/]+)/(?=\s|$)", line)
        if folder:
            open_folders.append((indent, folder[1]))
        prefix = "/".join(name for _, name in open_folders)
        found |= {f"{prefix}/{name}" for name in re.findall(r"[\w/]*\w+\.py\b", line)}
    return {path for path in found if path.startswith(("api_host/", "client/"))}


def test_the_map_in_the_documentation_names_every_module_and_no_other() -> None:
    there = {
        path.relative_to(ROOT).as_posix()
        for package in (HOST, CLIENT)
        for path in package.rglob("*.py")
        if path.name not in ("__init__.py", "__main__.py")
    }
    drawn = {path for path in modules_on_the_map() if not path.endswith(("/__init__.py", "/__main__.py"))}
    assert sorted(there - drawn) == [], "modules that docs/architecture.md does not name"
    assert sorted(drawn - there) == [], "modules that docs/architecture.md names and that do not exist"
