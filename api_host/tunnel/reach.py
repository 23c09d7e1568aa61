"""Can an address be reached? Asked in a child process, because a name look-up without a network can block a
thread for half a minute, and nothing but ending its process stops it.

The same file is the child: ``python -I -S reach.py connect HOST PORT TIMEOUT_S`` or
``... get URL TIMEOUT_S``, exit code 0 for yes; so it imports the standard library only. Knows nothing of
cloudflared.
"""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Callable

USER_AGENT = "api-host-tunnel/1"
LOOK_EVERY_S = 0.05


def connects(host: str, port: int, timeout_s: float, pause: Callable[[float], None]) -> bool:
    """Whether a TCP connection to ``host:port`` opens within ``timeout_s`` seconds, name look-up included.

    ``pause(seconds)`` is called while waiting; what it raises ends the question at once.
    """
    return _ask(["connect", host, str(port), str(timeout_s)], timeout_s, pause)


def answers(url: str, timeout_s: float, pause: Callable[[float], None]) -> bool:
    """Whether ``GET url`` is answered with 200 within ``timeout_s`` seconds; ``pause`` as in ``connects``."""
    return _ask(["get", url, str(timeout_s)], timeout_s, pause)


def _ask(question: list[str], timeout_s: float, pause: Callable[[float], None]) -> bool:
    command = [sys.executable, "-I", "-S", __file__, *question]
    quiet = subprocess.DEVNULL
    deadline = time.monotonic() + timeout_s
    child = subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet)
    try:
        while child.poll() is None and time.monotonic() < deadline:
            pause(LOOK_EVERY_S)
        return child.poll() == 0
    finally:
        child.kill()
        child.wait()


def _connect(host: str, port: int, timeout_s: float) -> bool:
    with socket.create_connection((host, port), timeout_s):
        return True


def _get(url: str, timeout_s: float) -> bool:
    parts = urllib.parse.urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.netloc, timeout=timeout_s)
    connection.request("GET", parts.path or "/", headers={"User-Agent": USER_AGENT})
    return connection.getresponse().status == 200


def main(arguments: list[str]) -> int:
    """Exit code of the child: 0 reached, 1 not."""
    verb, *rest = arguments
    try:
        if verb == "connect":
            reached = _connect(rest[0], int(rest[1]), float(rest[2]))
        else:
            reached = _get(rest[0], float(rest[1]))
    except (OSError, http.client.HTTPException):
        return 1
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
