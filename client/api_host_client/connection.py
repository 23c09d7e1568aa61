"""Says in one sentence why no answer came: turns the exceptions of requests into ``ConnectionFailed``.

Sends nothing. The cause is looked for along the chain of exceptions, down to the operating system's own.
"""

from __future__ import annotations

import errno
import socket

import requests

from api_host_client.errors import ConnectionFailed, ConnectionRefused, HostNotFound, TimedOut

_UNSENT = frozenset({errno.ECONNREFUSED, errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN})
_MOST_LINKS = 20
# Of urllib3 where a chunk's size is below zero or beyond all memory; requests lets them pass.
IMPOSSIBLE_CHUNKS = (ValueError, OverflowError, MemoryError)


def connection_failed(error: requests.RequestException, host: str) -> ConnectionFailed:
    """The typed error for what requests raised while it talked to ``host``."""
    if isinstance(error, requests.ConnectTimeout):
        return TimedOut(f"{host} did not take the connection in time: is the URL current?", sent=False)
    if is_timeout(error):
        return TimedOut(
            f"{host} sent nothing within the timeout: see whether the host still runs, or raise timeout="
        )
    if isinstance(error, requests.exceptions.ProxyError):
        return ConnectionFailed(
            f"the proxy on the way to {host} failed: check HTTPS_PROXY and NO_PROXY", sent=False
        )
    if isinstance(error, requests.exceptions.SSLError):
        return ConnectionFailed(
            f"TLS with {host} failed: check the URL's http or https and the clock", sent=False
        )
    cause = _system_error(error)
    if isinstance(cause, socket.gaierror):
        return HostNotFound(
            f"the name {host} is not known: a tunnel's name takes some seconds to appear and dies with it; "
            "compare it with the URL that the host prints now",
            sent=False,
        )
    if isinstance(cause, ConnectionRefusedError):
        return ConnectionRefused(f"nothing listens at {host} on that port: is the host running?", sent=False)
    if cause is not None and cause.errno in _UNSENT:
        return ConnectionFailed(f"no way to {host}: is this machine online?", sent=False)
    return ConnectionFailed(
        f"the connection to {host} broke before an answer came: see whether the host still runs"
    )


def is_timeout(error: requests.RequestException) -> bool:
    """Whether nothing came for the read timeout, before the headers or inside the body."""
    return isinstance(error, requests.Timeout) or any(
        isinstance(link, TimeoutError) or type(link).__name__ == "ReadTimeoutError" for link in _chain(error)
    )


def _system_error(error: BaseException) -> OSError | None:
    found = [
        link
        for link in _chain(error)
        if isinstance(link, OSError) and not isinstance(link, requests.RequestException)
    ]
    return found[-1] if found else None


def _chain(error: BaseException) -> list[BaseException]:
    """The exception and all that it wraps: as an argument, as ``reason``, as cause or as context."""
    links: list[BaseException] = []
    waiting: list[object] = [error]
    while waiting and len(links) < _MOST_LINKS:
        link = waiting.pop(0)
        if not isinstance(link, BaseException) or link in links:
            continue
        links.append(link)
        waiting += [*link.args, getattr(link, "reason", None), link.__cause__, link.__context__]
    return links
