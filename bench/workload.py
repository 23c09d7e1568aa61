"""What every workload is made of: where it runs, what it yields, and how a server is put in place for it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from bench.asking import Answered, warm_up
from bench.limits import Limit
from bench.process import RunningServer
from bench.servers import Server, Setting

CTX_MULTIPLE = 256


@dataclass(frozen=True)
class Ground:
    """What a workload stands on: the model, its words, threads of llama.cpp, and the folder for what servers print."""

    model: Path
    words: list[str]
    kv_bytes_per_token: int
    threads: int
    gpu: bool
    logs: Path


@dataclass
class Measured:
    """One measurement: figures by name, and the answers whose text is compared with the reference."""

    figures: dict[str, float]
    answers: list[Answered] = field(default_factory=list)


class Workload(Protocol):
    """One workload: ``key`` on the command line, ``name`` in the tables; ``servers`` are those it makes sense for."""

    @property
    def key(self) -> str: ...

    @property
    def name(self) -> str: ...

    @property
    def servers(self) -> tuple[str, ...]: ...

    @property
    def limits(self) -> tuple[Limit, ...]: ...

    def setting(self, ground: Ground) -> Setting:
        """How the servers are run for it."""

    def measure(self, server: Server, ground: Ground, seed: str) -> Measured:
        """Starts the server, measures, ends it. The same seed gives every server the same prompts."""


def make_setting(ground: Ground, slots: int, n_tokens: int) -> Setting:
    """``slots`` sequences with room for ``n_tokens`` each, rounded up as llama.cpp does."""
    ctx = -(-n_tokens // CTX_MULTIPLE) * CTX_MULTIPLE
    return Setting(ground.model, slots, ctx, ground.threads, ground.gpu)


@contextlib.contextmanager
def warm_server(server: Server, ground: Ground, setting: Setting) -> Iterator[RunningServer]:
    """A fresh server that has answered once in every slot."""
    with RunningServer(server, setting, ground.logs / f"{server.name}.log") as running:
        running.wait_ready()
        warm_up(running, ground.words)
        yield running
