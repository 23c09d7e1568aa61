"""What llama.cpp does without any server: its own benchmark programs, given the work of a workload."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Protocol

from bench.process import own_environment
from bench.servers import Setting

LLAMA_BENCH, BATCHED_BENCH = "llama-bench", "llama-batched-bench"
TIMEOUT_S = 900


class Limit(Protocol):
    """One program and what it is asked."""

    @property
    def name(self) -> str: ...

    def measure(self, folder: Path, setting: Setting) -> dict[str, float]:
        """Figures by the names of the workload's own; ``folder`` has the programs."""


@dataclass(frozen=True)
class TextGeneration:
    """``llama-bench``'s tg: the decodes that an answer of ``n_tokens`` takes after its first token."""

    n_tokens: int
    rounds: int
    name: str = LLAMA_BENCH

    def measure(self, folder: Path, setting: Setting) -> dict[str, float]:
        found = _json_lines(
            [
                *(str(folder / "llama-bench"), "-m", str(setting.model), "-t", str(setting.threads)),
                *("-p", "0", "-n", str(self.n_tokens - 1), "-r", str(self.rounds), "-o", "jsonl"),
                *("-ngl", "999" if setting.gpu else "0"),
            ]
        )
        return {"decode_tps": median(found[0]["samples_ts"])}


@dataclass(frozen=True)
class Batched:
    """``llama-batched-bench`` with the prompts and the text of a workload.

    The first token of an answer comes out of its prompt, so n tokens take n - 1 steps.
    """

    n_streams: int
    n_prompt: int
    n_tokens: int
    name: str = BATCHED_BENCH

    def measure(self, folder: Path, setting: Setting) -> dict[str, float]:
        found = _batched(folder, setting, self.n_prompt, self.n_tokens - 1, self.n_streams)
        return {"total_tps": self.n_streams * self.n_tokens / (found["t_pp"] + found["t_tg"])}


@dataclass(frozen=True)
class SharedPrefix:
    """``llama-batched-bench`` on the least work that a shared prefix leaves.

    The prefix once, with the text behind it (``-pps``), and the prompts' own parts as if they had no prefix.
    """

    n_streams: int
    n_shared: int
    n_own: int
    n_tokens: int
    name: str = BATCHED_BENCH

    def measure(self, folder: Path, setting: Setting) -> dict[str, float]:
        shared = _batched(folder, setting, self.n_shared, self.n_tokens - 1, self.n_streams, "-pps")
        own = _batched(folder, setting, self.n_own, 1, self.n_streams)
        seconds = shared["t_pp"] + shared["t_tg"] + own["t_pp"]
        return {"total_tps": self.n_streams * self.n_tokens / seconds}


def _batched(
    folder: Path, setting: Setting, n_prompt: int, n_steps: int, n_streams: int, *more: str
) -> dict[str, Any]:
    return _json_lines(
        [
            *(str(folder / "llama-batched-bench"), "-m", str(setting.model), "-t", str(setting.threads)),
            *("-c", str(setting.ctx * setting.slots), "-npp", str(n_prompt), "-ntg", str(n_steps)),
            *("-npl", str(n_streams), "--output-format", "jsonl", *more),
            *("-ngl", "999" if setting.gpu else "0"),
        ]
    )[0]


def _json_lines(command: list[str]) -> list[dict[str, Any]]:
    """What the program prints as JSON. Raises subprocess.CalledProcessError, or ValueError when it prints none."""
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=TIMEOUT_S, check=True, env=own_environment()
    )
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    if not found:
        raise ValueError(f"{Path(command[0]).name} printed no figures: {done.stderr[-500:]}")
    return found
