"""The workloads on the demo model: many requests for one token, and the time from a process's start to its first token.

Figures: ``rps`` requests a second; ``seconds`` from the start of the process to the first text.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import median

from bench.limits import Limit
from bench.load import Load, LoadFailed, http_post
from bench.process import POLL_S, READY_TIMEOUT_S, RunningServer
from bench.servers import BINDINGS, HOST, LLAMA_SERVER, Server, Setting
from bench.small_requests import post_many
from bench.workload import Ground, Measured, make_setting

ALL = (HOST, LLAMA_SERVER, BINDINGS)
# The demo model has something to say after these: a text that it ends at once would be one token of nothing.
BEGINNINGS = tuple(
    f"The capital of {country} is"
    for country in ("France", "Japan", "Kenya", "Peru", "Norway", "Egypt", "Chile", "India", "Spain", "Cuba")
)
CTX = 256


@dataclass(frozen=True)
class SmallRequests:
    """``n_requests`` plain requests for one token over ``n_connections`` connections that stay open."""

    n_requests: int = 500
    n_connections: int = 16
    rounds: int = 3
    key: str = "requests"
    servers: tuple[str, ...] = ALL
    limits: tuple[Limit, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.n_requests} one-token requests over {self.n_connections} connections"

    def setting(self, ground: Ground) -> Setting:
        return make_setting(ground, self.n_connections, CTX)

    def measure(self, server: Server, ground: Ground, seed: str) -> Measured:
        bodies = [server.body(beginning, 1, stream=False) for beginning in BEGINNINGS]
        setting = self.setting(ground)
        with RunningServer(server, setting, ground.logs / f"{server.name}.log") as running:
            running.wait_ready()
            post_many(running.port, server, bodies, self.n_connections * 2, self.n_connections, ground.logs)
            seconds = [
                post_many(running.port, server, bodies, self.n_requests, self.n_connections, ground.logs)
                for _ in range(self.rounds)
            ]
        return Measured({"rps": self.n_requests / median(seconds)})


@dataclass(frozen=True)
class Start:
    """From the start of the process to the first token of an answer, files in the page cache."""

    slots: int = 4
    key: str = "start"
    name: str = "start to first token"
    servers: tuple[str, ...] = ALL
    limits: tuple[Limit, ...] = ()

    def setting(self, ground: Ground) -> Setting:
        return make_setting(ground, self.slots, CTX)

    def measure(self, server: Server, ground: Ground, seed: str) -> Measured:
        request = http_post(server.path, server.body(BEGINNINGS[0], 4, stream=True))
        with RunningServer(server, self.setting(ground), ground.logs / f"{server.name}.log") as running:
            while (first := _first_text(running, request)) is None:
                running.check(READY_TIMEOUT_S)
                time.sleep(POLL_S)
        return Measured({"seconds": first - running.started})


def _first_text(running: RunningServer, request: bytes) -> float | None:
    """When the first text came; None when the server does not listen yet, or turns the request away."""
    with Load(running.port, timeout=READY_TIMEOUT_S) as load:
        try:
            (exchange,) = load.send(request)
            load.run()
        except (ConnectionError, LoadFailed):
            return None
    texts = (event.time for event in exchange.answer.events if running.server.text(event))
    return next(texts, None)
