"""Keeps one tunnel up: connect, announce, watch, replace, with growing pauses between failures.

Knows nothing of how a URL is got (``connect.py``), only when to ask for one.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from api_host.errors import TunnelFailed
from api_host.tunnel import diagnosis
from api_host.tunnel.connect import Connector, Timing
from api_host.tunnel.process import CloudflaredProcess
from api_host.tunnel.wakeup import Stopped, Wakeup

log = logging.getLogger(__name__)


class Watchdog:
    """The life of one tunnel, as a loop that a thread runs.

    Args:
        connector: makes one attempt.
        wakeup: stops the loop, and is rung when ``announced``, ``failure`` or ``done`` has changed.
        timing: pauses, in seconds.
        on_url, on_problem: as in ``Tunnel``.
        patient: a first attempt that fails is reported and tried again; otherwise it ends the loop.
    """

    def __init__(
        self,
        connector: Connector,
        wakeup: Wakeup,
        timing: Timing,
        on_url: Callable[[str], None],
        on_problem: Callable[[str], None],
        patient: bool,
    ) -> None:
        self.url: str | None = None
        self.failure: TunnelFailed | None = None
        self.announced = False
        self.done = False
        self._connector = connector
        self._wakeup = wakeup
        self._timing = timing
        self._on_url = on_url
        self._on_problem = on_problem
        self._patient = patient
        self._failures = 0
        self._reported: str | None = None

    def run(self) -> None:
        """Hold the tunnel up until the wakeup is stopped, or the first attempt failed and is the only one."""
        try:
            while self._hold_one():
                self._wakeup.pause(self._pause())
        except Stopped:
            log.debug("the tunnel is stopped")
        finally:
            self.url = None
            self.done = True
            self._wakeup.ring()

    def suspect(self, reason: TunnelFailed) -> None:
        """Hear that the attempt under way will probably fail: report it, or end the attempt with it."""
        if not self._patient:
            raise reason
        self._report(reason)

    def _hold_one(self) -> bool:
        try:
            process, url = self._connector.connect()
        except TunnelFailed as failure:
            self._fail(failure)
            return self._patient
        began = time.monotonic()
        try:
            self._announce(url)
            reason = self._watch(process)
        finally:
            self.url, self.announced = None, False
            process.stop()
        if time.monotonic() - began >= self._timing.stable:
            self._failures = 0
        self._fail(reason)
        return True

    def _watch(self, process: CloudflaredProcess) -> TunnelFailed:
        missed = 0
        while missed < self._timing.misses:
            if self._wakeup.wait(lambda: process.ended, self._timing.watch):
                return diagnosis.died(process.log, process.exit_code or 0)
            missed = 0 if process.is_ready() else missed + 1
        return diagnosis.lost()

    def _announce(self, url: str) -> None:
        self._patient = True
        self._reported = self.failure = None
        self.url = url
        _tell(self._on_url, url)
        self.announced = True
        self._wakeup.ring()

    def _fail(self, reason: TunnelFailed) -> None:
        self._failures += 1
        if self._patient:
            self._report(reason)
        self.failure = reason
        self._wakeup.ring()

    def _report(self, reason: TunnelFailed) -> None:
        if reason.message != self._reported:
            self._reported = reason.message
            _tell(self._on_problem, reason.message)

    def _pause(self) -> float:
        asked = self.failure.retry_after if self.failure else None
        first, longest = self._timing.retry, self._timing.retry_max
        if asked is not None:
            first, longest = asked, self._timing.rate_limited_max
        return min(first * 2.0 ** min(self._failures - 1, 30), longest)


def _tell(listener: Callable[[str], None], text: str) -> None:
    try:
        listener(text)
    except Exception:
        # A listener that fails, a closed output cell for one, must not take the tunnel down.
        log.exception("a listener of the tunnel failed")
