"""One running cloudflared: launched under its guard, its log read as long as it lives, its readiness asked.

Decides nothing: whether to wait longer, replace it or give up is the caller's business.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections import deque
from pathlib import Path

from api_host.tunnel.wakeup import Wakeup

QUICK_TUNNEL_URL = r"https://[a-z0-9-]+\.trycloudflare\.com"
GRACE_S = 2.0

_METRICS = re.compile(r"Starting metrics server on 127\.0\.0\.1:(\d+)/metrics")
_NOT_TUNNELS = ("https://api.trycloudflare.com",)
_GUARD = Path(__file__).with_name("guard.py")
_SECRET = re.compile(r"TOKEN|SECRET|PASSW|CREDENTIAL|(^|_)KEY(_|$)", re.I)
_LOG_LINES = 100
_LINE_BYTES = 4096
_ASK_TIMEOUT_S = 1.0


class CloudflaredProcess:
    """A quick tunnel to a URL of this machine as a process.

    Args:
        binary: the program.
        local_url: what it forwards to, as ``http://127.0.0.1:8080``.
        wakeup: rung when the URL or the metrics port is known and when the process has ended.
        url_pattern: a regular expression for the public URL in its log.

    ``url``, ``metrics_port`` and ``exit_code`` are None until known.
    """

    def __init__(
        self, binary: str, local_url: str, wakeup: Wakeup, url_pattern: str = QUICK_TUNNEL_URL
    ) -> None:
        self.url: str | None = None
        self.metrics_port: int | None = None
        self.exit_code: int | None = None
        self._wakeup = wakeup
        self._url_pattern = re.compile(url_pattern)
        self._log: deque[str] = deque(maxlen=_LOG_LINES)
        # A session of its own: Ctrl-C in a terminal is for the host, which then stops this process in order.
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_GUARD), str(GRACE_S), binary, *arguments(local_url)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=environment(),
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, name="tunnel-log", daemon=True)
        self._waiter = threading.Thread(target=self._await_end, name="tunnel-end", daemon=True)
        self._reader.start()
        self._waiter.start()

    @property
    def ended(self) -> bool:
        return self.exit_code is not None

    @property
    def log(self) -> list[str]:
        """The last lines of its standard error."""
        return list(self._log)

    def is_ready(self) -> bool:
        """Whether it is connected to Cloudflare's edge now, by its own ``/ready``."""
        return self._ask("/ready") is not None

    def ask_url(self) -> str | None:
        """The public URL by its ``/quicktunnel``; None while it does not answer or has no host name."""
        body = self._ask("/quicktunnel")
        try:
            hostname = json.loads(body or b"{}").get("hostname")
        except (ValueError, AttributeError):
            return None
        return f"https://{hostname}" if isinstance(hostname, str) and hostname else None

    def stop(self) -> None:
        """End it: SIGTERM, ``GRACE_S`` seconds, SIGKILL; nothing of it is left then. May be called again."""
        stdin = self._process.stdin
        if stdin is not None and not stdin.closed:
            stdin.close()
        self._waiter.join(GRACE_S + 1.0)
        if self._waiter.is_alive():
            self._kill_session()
            self._waiter.join()

    def _ask(self, path: str) -> bytes | None:
        if self.metrics_port is None or self.ended:
            return None
        connection = http.client.HTTPConnection("127.0.0.1", self.metrics_port, timeout=_ASK_TIMEOUT_S)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            body = response.read(_LINE_BYTES)
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()
        return body if response.status == 200 else None

    def _read(self) -> None:
        stderr = self._process.stderr
        assert stderr is not None
        with stderr:
            for line in iter(lambda: stderr.readline(_LINE_BYTES), b""):
                self._notice(line.decode("utf-8", "replace").rstrip())

    def _notice(self, line: str) -> None:
        self._log.append(line)
        if self.metrics_port is None and (found := _METRICS.search(line)):
            self.metrics_port = int(found[1])
            self._wakeup.ring()
        if self.url is None and (found := self._url_pattern.search(line)) and found[0] not in _NOT_TUNNELS:
            self.url = found[0]
            self._wakeup.ring()

    def _await_end(self) -> None:
        code = self._process.wait()
        # Where the guard itself was killed, cloudflared is still there and holds the log open.
        self._kill_session()
        self._reader.join()
        self.exit_code = code
        self._wakeup.ring()

    def _kill_session(self) -> None:
        if sys.platform == "win32":
            self._process.kill()
            return
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            return  # nothing is left of it


def arguments(local_url: str) -> list[str]:
    """cloudflared's command line for a quick tunnel to a URL of this machine.

    The empty configuration keeps the user's own ``config.yml`` out: its ingress rules would replace
    ``--url``.
    https://developers.cloudflare.com/cloudflare-one/networks/connectors/cloudflare-tunnel/configure-tunnels/run-parameters/
    """
    return [
        *("tunnel", "--config", os.devnull, "--no-autoupdate"),
        *("--metrics", "127.0.0.1:0", "--grace-period", f"{GRACE_S:.0f}s"),
        *("--protocol", "http2", "--url", local_url),
    ]


def environment() -> dict[str, str]:
    """The host's environment without secrets and without ``TUNNEL_*``, which cloudflared reads as options."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not _SECRET.search(name) and not name.startswith("TUNNEL_")
    }
    return {**kept, "NO_AUTOUPDATE": "true"}
