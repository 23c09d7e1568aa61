"""Runs a workload: every contender in turn, A B C A B C, so that what drifts in a machine drifts for all of them."""

from __future__ import annotations

import http.client
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from bench.asking import Answered
from bench.limits import Limit
from bench.load import LoadFailed
from bench.process import ServerFailed
from bench.reference import compare
from bench.results import Run, Sample
from bench.servers import HOST, LLAMA_SERVER, Server
from bench.workload import Ground, Measured, Workload

REASON_CHARACTERS = 300
# A contender that ends or says something odd in the middle fails by any of these; the others go on.
CONTENDER_ERRORS = (
    *(LoadFailed, ServerFailed, OSError, http.client.HTTPException, psutil.Error, subprocess.SubprocessError),
    *(ValueError, TypeError, LookupError, ArithmeticError),
)


class Runner:
    """Measures workloads.

    Args:
        servers: the contenders, in the order of their turns.
        tools: the folder of llama.cpp's programs.
        with_limits: whether those that are no servers take their turn too.
        check_texts: whether greedy text is compared with llama-server's.
        command: what started it all, for the record. ``software``: the versions that are measured, likewise.
        say: takes a line of progress.
    """

    def __init__(
        self,
        servers: list[Server],
        tools: Path,
        with_limits: bool = True,
        check_texts: bool = True,
        command: str = "",
        say: Callable[[str], None] = print,
        software: dict[str, str] | None = None,
    ) -> None:
        self._servers = servers
        self._tools = tools
        self._with_limits = with_limits
        self._check_texts = check_texts
        self._command = command
        self._say = say
        self._software = software or {}

    def run(self, workload: Workload, model: str, ground: Ground, pairs: int) -> Run:
        """Measures ``pairs`` times. What fails is recorded, and the others go on."""
        started = time.strftime("%Y-%m-%d %H:%M")
        load = round(os.getloadavg()[0], 2)
        run = Run(model, workload.key, workload.name, self._command, started, load, software=self._software)
        servers = [server for server in self._servers if server.name in workload.servers]
        answers: dict[str, list[Answered]] = {}
        for pair in range(pairs):
            for server in servers:
                measured = self._measure(run, workload, server, ground, pair)
                if measured is not None and pair == 0:
                    answers[server.name] = measured.answers
            for limit in workload.limits if self._with_limits else ():
                self._limit(run, limit, workload, ground, pair)
        if self._check_texts:
            self._compare(run, answers, workload, ground)
        return run

    def _measure(
        self, run: Run, workload: Workload, server: Server, ground: Ground, pair: int
    ) -> Measured | None:
        try:
            measured = workload.measure(server, ground, f"{workload.name}/{pair}")
        except CONTENDER_ERRORS as error:
            self._fail(run, f"{server.name}, pair {pair + 1}: {_told(error)}")
            return None
        self._keep(run, Sample(server.name, pair, measured.figures))
        return measured

    def _limit(self, run: Run, limit: Limit, workload: Workload, ground: Ground, pair: int) -> None:
        try:
            figures = limit.measure(self._tools, workload.setting(ground))
        except CONTENDER_ERRORS as error:
            self._fail(run, f"{limit.name}, pair {pair + 1}: {_told(error)}")
            return
        self._keep(run, Sample(limit.name, pair, figures))

    def _compare(
        self, run: Run, answers: dict[str, list[Answered]], workload: Workload, ground: Ground
    ) -> None:
        by_name = {server.name: server for server in self._servers}
        if LLAMA_SERVER not in by_name:
            return
        try:
            ctx = workload.setting(ground).ctx
            run.texts = compare(answers, by_name[LLAMA_SERVER], by_name.get(HOST), ground, ctx)
        except CONTENDER_ERRORS as error:
            self._fail(run, f"comparing texts: {_told(error)}")
        for check in run.texts:
            counts = f"{check.equal} of {check.of} equal, {check.near_ties} left at a near tie"
            self._say(f"    texts of {check.contender} {check.how}: {counts} (up to {check.largest_gap:g})")

    def _keep(self, run: Run, sample: Sample) -> None:
        run.samples.append(sample)
        figures = ", ".join(f"{name} {value:.4g}" for name, value in sample.figures.items())
        self._say(f"    {sample.pair + 1} {sample.contender}: {figures}")

    def _fail(self, run: Run, reason: str) -> None:
        short = " ".join(reason.split())[:REASON_CHARACTERS]
        run.failures.append(short)
        self._say(f"    FAILED {short}")


def _told(error: Exception) -> str:
    """Its own words, with its type where these are no sentence."""
    return repr(error) if isinstance(error, (LookupError, ArithmeticError)) else str(error)
