"""What the bench does when something is not as it should be: a contender, a text, a command, an older file."""

from __future__ import annotations

from pathlib import Path

from bench.asking import Asked
from bench.reference import UNDER_LOAD, Reference
from bench.results import TextCheck
from bench.servers import HOST
from bench.workload import Ground
from tests.fakes.word_server import WordServer

ROOT = Path(__file__).parent.parent


def ground_of(folder: Path) -> Ground:
    return Ground(folder / "no.gguf", [], 0, 1, False, folder)


def test_a_text_is_compared_behind_a_near_tie_as_well(tmp_path: Path) -> None:
    asked = Asked("a", 4)
    texts = {"b c d e": (1, 0), "b d e g": (0, 1), "b d e z": (0, 0), "z a b c": (0, 0)}
    with Reference(WordServer(tmp_path), ground_of(tmp_path), 256) as reference:
        for text, (equal, near_ties) in texts.items():
            check = reference.check(HOST, UNDER_LOAD, [(asked, text)])
            gap = 0.1 if near_ties else 0.0
            assert check == TextCheck(HOST, UNDER_LOAD, equal, 1, near_ties, gap), text
