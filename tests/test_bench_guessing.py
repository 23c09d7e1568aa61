"""The measurement of guesses runs from its start to its lines, small."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def test_guesses_are_measured_for_one_stream_and_for_two() -> None:
    command = [sys.executable, "-m", "bench.guessing", "--layers", "2", "--pairs", "1", "--tokens", "40"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=True)
    one, two = done.stdout.splitlines()
    shape = r"[12] streams: ([\d.]+) tokens/s without, ([\d.]+) with, ratio [\d.]+; (\d+) of \3 guesses .*\(100%\)"
    for line in (one, two):
        found = re.fullmatch(shape, line)
        assert found, line
        assert int(found[3]) > 20


@pytest.mark.parametrize(("tokens", "reason"), [("1", "more --tokens"), ("5000", "has no room for more")])
def test_a_rate_of_texts_that_are_not_whole_is_not_told(tokens: str, reason: str) -> None:
    command = [sys.executable, "-m", "bench.guessing", "--layers", "0", "--pairs", "1", "--tokens", tokens]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1 and done.stdout == "" and reason in done.stderr
