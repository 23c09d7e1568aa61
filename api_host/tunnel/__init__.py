"""A public URL for a local address, through one of Cloudflare's quick tunnels.

    tunnel.py       Tunnel: start, announce, watch, replace, stop
    connect.py      one attempt: from nothing to a URL that works
    process.py      one running cloudflared: its log, its URL, its readiness, its end
    guard.py        the small parent of cloudflared that ends it when the host is gone
    binary.py       where the program is, or fetching it
    reach.py        can that address be reached at all, asked in a child that can be ended
    diagnosis.py    why cloudflared gave up, in one line
    wakeup.py       what all waiting here waits on, so that a stop interrupts it

Knows nothing of Flask, models or engines: it is given a URL of this machine and two functions to call.
"""

from __future__ import annotations

from api_host.errors import TunnelFailed
from api_host.tunnel.connect import Timing
from api_host.tunnel.tunnel import Tunnel

__all__ = ["Timing", "Tunnel", "TunnelFailed"]
