"""One attempt to get a tunnel: from a program on the disk to a URL that works.

Knows nothing of what comes before or after: retries, replacement and announcements are ``tunnel.py``'s.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass

from api_host.errors import TunnelFailed
from api_host.tunnel import diagnosis, reach
from api_host.tunnel.binary import find_or_fetch
from api_host.tunnel.process import QUICK_TUNNEL_URL, CloudflaredProcess
from api_host.tunnel.wakeup import Wakeup

PROBE_ENV = "API_HOST_TUNNEL_PROBE"
API_ADDRESS = ("api.trycloudflare.com", 443)
_LAUNCHES = 2

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Timing:
    """How long a tunnel waits for what, in seconds (``misses`` and ``probes`` are counts).

    Args:
        silence: without a word from cloudflared, look whether there is a network at all.
        reach: for that look.
        url: for the URL, which cloudflared itself waits 15 s for.
        ready: for the connection after the URL; then once more with a new process.
        ready_poll: between two looks at it.
        settle: after the connection, before the first look-up of the URL's name: one that comes too early can
            be remembered as "no such name" for a long time.
        probe: for one request to the public URL.
        probes: requests to the public URL before it is announced without one that worked.
        watch: between two looks at a live tunnel.
        misses: looks in a row that find it not connected before it is replaced.
        retry, retry_max: the first pause after a failure, which doubles, and the longest.
        rate_limited_max: the longest pause where quick tunnels are refused with 429.
        stable: a tunnel that lived so long starts again with the first pause.
    """

    silence: float = 0.5
    reach: float = 1.0
    url: float = 20.0
    ready: float = 20.0
    ready_poll: float = 0.2
    settle: float = 2.0
    probe: float = 3.0
    probes: int = 4
    watch: float = 10.0
    misses: int = 3
    retry: float = 2.0
    retry_max: float = 120.0
    rate_limited_max: float = 1800.0
    stable: float = 60.0


@dataclass
class Connector:
    """What an attempt needs to know.

    Args:
        local_url: what is behind the tunnel.
        binary: path or name of the cloudflared program; None finds or fetches one.
        url_pattern: regular expression for the public URL in cloudflared's log.
        probe: tells whether the public URL answers; None asks its ``/health``, unless the environment
            variable ``API_HOST_TUNNEL_PROBE`` is ``0``: then nothing is asked.
        timing: how long to wait for what.
        on_silence: told that there seems to be no network while cloudflared still tries; may raise it.
    """

    local_url: str
    binary: str | None
    url_pattern: str | None
    probe: Callable[[str], bool] | None
    timing: Timing
    wakeup: Wakeup
    on_silence: Callable[[TunnelFailed], None]

    def connect(self) -> tuple[CloudflaredProcess, str]:
        """A process that is connected, and its public URL.

        Raises:
            TunnelFailed: with the reason; nothing is left running.
            Stopped: the tunnel is being stopped; nothing is left running.
        """
        binary = find_or_fetch(self.binary, self.wakeup.pause)
        for _ in range(_LAUNCHES):
            process = self._launch(binary)
            try:
                url = self._await_url(process)
                if self._await_ready(process):
                    self._await_public(url)
                    return process, url
            except BaseException:
                process.stop()
                raise
            process.stop()
        raise diagnosis.not_ready(self.timing.ready, process.log)

    def _launch(self, binary: str) -> CloudflaredProcess:
        try:
            pattern = self.url_pattern or QUICK_TUNNEL_URL
            return CloudflaredProcess(binary, self.local_url, self.wakeup, pattern)
        except OSError as error:
            raise TunnelFailed(
                f"cloudflared cannot be started ({error.strerror}); free some memory"
            ) from None

    def _await_url(self, process: CloudflaredProcess) -> str:
        def has_spoken() -> bool:
            return bool(process.url or process.metrics_port or process.ended)

        if not self.wakeup.wait(has_spoken, self.timing.silence):
            self._look_for_network(process)
            self.wakeup.wait(has_spoken, self.timing.url)
        url = process.url or process.ask_url()
        if process.ended:
            raise diagnosis.diagnose(process.log, process.exit_code or 0)
        if url is None:
            raise diagnosis.no_network(f"no tunnel was given within {self.timing.url:.0f} s")
        return url

    def _look_for_network(self, process: CloudflaredProcess) -> None:
        host, port = API_ADDRESS
        reached = reach.connects(host, port, self.timing.reach, self.wakeup.pause)
        if not reached and process.url is None and not process.ended:
            self.on_silence(diagnosis.no_network(f"{host} cannot be reached"))

    def _await_ready(self, process: CloudflaredProcess) -> bool:
        looks = max(1, round(self.timing.ready / self.timing.ready_poll))
        for _ in range(looks):
            if process.is_ready():
                return True
            if self.wakeup.wait(lambda: process.ended, self.timing.ready_poll):
                raise diagnosis.diagnose(process.log, process.exit_code or 0)
        return False

    def _await_public(self, url: str) -> None:
        if self.probe is None and os.environ.get(PROBE_ENV) == "0":
            return
        for look in range(self.timing.probes):
            self.wakeup.pause(self.timing.settle * (look + 1))
            if self._answers(url):
                return
        log.warning(
            "the tunnel is connected, but %s did not answer from here; its name may need a minute", url
        )

    def _answers(self, url: str) -> bool:
        if self.probe is not None:
            return self.probe(url)
        return reach.answers(f"{url}/health", self.timing.probe, self.wakeup.pause)
