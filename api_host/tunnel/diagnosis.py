"""Why cloudflared gave up, in one line with the cure, read from the end of its log and its exit code.

The wording that is looked for is cloudflared's own: ``cmd/cloudflared/tunnel/quick_tunnel.go`` in
https://github.com/cloudflare/cloudflared. Starts nothing and waits for nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from api_host.errors import TunnelFailed

# Seconds; a refused address stays refused for minutes, and asking again prolongs it.
RATE_LIMIT_WAIT_S = 300.0

_RATE_LIMITED = re.compile(r"429 Too Many|Too Many Requests|error code:? *1015|status_code=\"?429", re.I)
_OUTAGE = re.compile(r"invalid UUID length|status_code=\"?5\d\d", re.I)
_NO_NETWORK = re.compile(
    r"failed to request quick Tunnel|no such host|network is unreachable|no route to host|server misbehaving"
    r"|dial (tcp|udp)\b",
    re.I,
)
_EDGE = re.compile(r":7844\b|argotunnel\.com|Unable to establish connection|Serve tunnel error", re.I)
_ERROR_LINE = re.compile(r"\b(ERR|FTL|error|failed|cannot)\b", re.I)
_TIMESTAMP = re.compile(r"^\d{4}-\d\d-\d\dT[\d:.]+Z? +(?:[A-Z]{3} +)?")
# The host gives an empty configuration on purpose, which cloudflared logs as an error.
_EXPECTED = "Configuration file"

_OR_LOCAL = "or go on with the local URL"
_NEW_ONE = "wait for a new one, which has a new URL"


def no_network(what: str) -> TunnelFailed:
    """The failure for an address that cannot be reached; ``what`` could not be done."""
    return TunnelFailed(
        f"no network: {what}; connect this machine to the internet (on Kaggle: switch Internet on in the "
        f"notebook's settings), {_OR_LOCAL}"
    )


def not_ready(waited_s: float, log: Sequence[str]) -> TunnelFailed:
    """The failure of a tunnel that got a URL but no connection in ``waited_s`` seconds."""
    said = last_error(log)
    return TunnelFailed(
        f"the tunnel got a URL but no connection in {waited_s:.0f} s{f' ({said})' if said else ''}: open "
        f"outgoing TCP port 7844 in the firewall, {_OR_LOCAL}"
    )


def diagnose(log: Sequence[str], exit_code: int) -> TunnelFailed:
    """The reason why cloudflared ended.

    Args:
        log: the last lines of its standard error.
        exit_code: what it ended with; 128 + N for signal N.

    Returns:
        The error to raise or to report: one line; with ``retry_after`` where an early retry does harm.
    """
    text = "\n".join(line for line in log if _EXPECTED not in line)
    if _RATE_LIMITED.search(text):
        return TunnelFailed(
            "the tunnel was refused with 429: too many quick tunnels were asked for from this address; "
            f"wait some minutes, {_OR_LOCAL}",
            retry_after=RATE_LIMIT_WAIT_S,
        )
    if _OUTAGE.search(text):
        return TunnelFailed(f"Cloudflare's quick tunnels have an outage; try again later, {_OR_LOCAL}")
    if _EDGE.search(text):
        return TunnelFailed(
            f"the tunnel cannot reach Cloudflare: open outgoing TCP port 7844 in the firewall, {_OR_LOCAL}"
        )
    if _NO_NETWORK.search(text):
        return no_network("api.trycloudflare.com cannot be reached")
    return TunnelFailed(
        f"cloudflared ended with {_code(exit_code, log)}; start the tunnel again, {_OR_LOCAL}"
    )


def died(log: Sequence[str], exit_code: int) -> TunnelFailed:
    """The reason why a tunnel that was up ended; ``log`` and ``exit_code`` as in ``diagnose``.

    Errors that it had survived are still in its log, so the log does not tell the cause here.
    """
    return TunnelFailed(f"the tunnel ended with {_code(exit_code, log)}; {_NEW_ONE}")


def lost() -> TunnelFailed:
    """The reason to replace a tunnel that is no longer connected."""
    return TunnelFailed(f"the tunnel lost its connection to Cloudflare; {_NEW_ONE}")


def _code(exit_code: int, log: Sequence[str]) -> str:
    said = last_error(log)
    return f"code {exit_code}{f' ({said})' if said else ''}"


def last_error(log: Sequence[str]) -> str:
    """The last line that tells of an error, without its timestamp, at most 200 characters; or nothing."""
    for line in reversed(log):
        if _ERROR_LINE.search(line) and _EXPECTED not in line:
            return _TIMESTAMP.sub("", line).strip()[:200]
    return ""
