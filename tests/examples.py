"""Examples in Markdown: fenced blocks of code that are run as a reader would, each in a process of its own.

Before a block stands an HTML comment: ``<!-- prints: WORDS -->`` is what its output has to hold, and
``<!-- not run: WHY -->`` leaves it out. Knows nothing of what the examples are about.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from api_host.host import ApiHost

RUNNABLE = ("python", "bash")
TIMEOUT_S = 60
_BLOCK = re.compile(r"(?:<!-- (.*?) -->\n)?^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)


@dataclass
class Example:
    """A block of code, with what its HTML comment says: what it prints, or why it is not run."""

    line: int
    language: str
    code: str
    prints: str | None
    not_run: str | None

    def __str__(self) -> str:
        return f"line-{self.line}-{self.language}"

    def run(self, host: ApiHost, folder: Path, before: str = "") -> None:
        """Runs it in ``folder``, a Python block behind ``before``. Fails unless it succeeds and prints what it should.

        The host is told by the environment: API_HOST_URL and API_HOST_TOKEN, or URL and TOKEN.
        """
        if "curl" in self.code and shutil.which("curl") is None:
            pytest.skip("curl is not installed")
        kept = {name: value for name, value in os.environ.items() if not name.startswith("API_HOST_")}
        url, token = host.local_url, str(host.access_token)
        environment = {
            **kept,
            "API_HOST_URL": url,
            "API_HOST_TOKEN": token,
            "URL": url,
            "TOKEN": token,
            "HOME": str(folder),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }
        is_python = self.language == "python"
        program = [sys.executable, "-c", before + self.code] if is_python else [*_BASH, self.code]
        done = subprocess.run(
            program, cwd=folder, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S
        )
        assert done.returncode == 0, done.stderr
        assert self.prints is not None
        assert self.prints in done.stdout


_BASH = ("bash", "-euo", "pipefail", "-c")


def examples_in(text: str) -> list[Example]:
    """The blocks of a Markdown text, in their order."""
    found = []
    for match in _BLOCK.finditer(text):
        comment, language, code = match.groups()
        kind, _, said = (comment or "").partition(": ")
        line = text.count("\n", 0, match.start()) + 1
        prints, not_run = (said if kind == name else None for name in ("prints", "not run"))
        found.append(Example(line, language, code, prints, not_run))
    return found


def check_each_is_run_or_says_why_not(examples: list[Example]) -> None:
    for example in examples:
        runs = example.prints is not None and example.language in RUNNABLE
        assert runs or example.not_run, f"{example}: neither what it prints nor why it is not run"
