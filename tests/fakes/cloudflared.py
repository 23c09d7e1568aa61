"""A stand-in for cloudflared: its command line, its log, its metrics server, and a real proxy to ``--url``.

What it says is worded as cloudflared words it; what it forwards, it forwards byte by byte both ways, so that
streams and WebSockets pass as they do through the edge. Standard library only. Knows nothing of api_host.

Environment:
    FAKE_CLOUDFLARED_MODE    what each launch does, comma-separated; the last is for all further launches:
        ok, refuse_429, no_network, outage, silent (says nothing), never_ready, dies (at SIGUSR1), unready (from
        SIGUSR1 on), stubborn (ignores SIGTERM), unnamed (never logs its URL)
    FAKE_CLOUDFLARED_STATE   a JSON file that it writes: ``{"launches", "pid", "arguments", "environment"}`` and,
        once it proxies, ``"proxy"`` (http://127.0.0.1:PORT), ``"metrics"`` (the port) and ``"url"``
    FAKE_CLOUDFLARED_PUBLIC  ``proxy``: the URL in the log is the proxy's own address
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import socketserver
import sys
import threading
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

VERSION = "cloudflared version 2026.1.0 (built 2026-01-05-1200 UTC)"
VISITOR = "203.0.113.7"
WORDS = (
    "amber",
    "brook",
    "cedar",
    "delta",
    "ember",
    "frost",
    "grove",
    "heron",
    "iris",
    "jade",
    "kelp",
    "linen",
)
FAILURES = {
    "refuse_429": (
        "ERR Error unmarshaling QuickTunnel response: error code: 1015 error=\"invalid character 'e' looking "
        'for beginning of value" status_code="429 Too Many Requests"',
        "failed to unmarshal quick Tunnel: invalid character 'e' looking for beginning of value",
    ),
    "no_network": (
        None,
        'failed to request quick Tunnel: Post "https://api.trycloudflare.com/tunnel": dial tcp: lookup '
        "api.trycloudflare.com on 127.0.0.11:53: no such host",
    ),
    "outage": (None, "failed to parse quick Tunnel ID: invalid UUID length: 0"),
}


def install(folder: Path, name: str = "cloudflared") -> Path:
    """Write an executable ``name`` into ``folder`` that runs this stand-in; its path."""
    program = folder / name
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "{Path(__file__).resolve()}" "$@"\n')
    program.chmod(0o755)
    return program


def say(line: str) -> None:
    now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    print(f"{now} {line}", file=sys.stderr, flush=True)


class State:
    """The JSON file through which a test sees what was launched."""

    def __init__(self) -> None:
        path = os.environ.get("FAKE_CLOUDFLARED_STATE")
        self._path = Path(path) if path else None
        launches = 0
        if self._path and self._path.exists():
            launches = json.loads(self._path.read_text())["launches"]
        self.launches = launches + 1
        self._known: dict[str, Any] = {"launches": self.launches, "pid": os.getpid()}
        self.add(arguments=sys.argv[1:], environment=sorted(os.environ))

    def add(self, **facts: Any) -> None:
        self._known.update(facts)
        if self._path:
            fresh = self._path.with_suffix(f".{os.getpid()}")
            fresh.write_text(json.dumps(self._known))
            fresh.replace(self._path)


class Metrics(ThreadingHTTPServer):
    daemon_threads = True
    ready = True
    hostname = ""


class MetricsRequest(BaseHTTPRequestHandler):
    server: Metrics

    def do_GET(self) -> None:
        if self.path == "/ready":
            ready = self.server.ready
            self._answer(
                200 if ready else 503, {"status": 200 if ready else 503, "readyConnections": int(ready)}
            )
        elif self.path == "/quicktunnel":
            self._answer(200, {"hostname": self.server.hostname})
        elif self.path == "/metrics":
            self._answer(200, {"cloudflared_tunnel_ha_connections": int(self.server.ready)})
        else:
            self._answer(404, {})

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: Any) -> None:
        pass


class Proxy(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128
    origin = ("127.0.0.1", 0)
    hostname = ""


class ProxiedConnection(socketserver.BaseRequestHandler):
    """One visitor's request: its head rewritten as the edge does, all further bytes passed on at once."""

    server: Proxy
    request: socket.socket

    def handle(self) -> None:
        head, rest = self._head()
        if not head:
            return
        try:
            origin = socket.create_connection(self.server.origin, 5)
        except OSError:
            self.request.sendall(edge_error(502, "Bad gateway"))
            return
        origin.settimeout(None)
        with origin:
            origin.sendall(rewritten(head, self.server.hostname) + rest)
            back = threading.Thread(target=splice, args=(origin, self.request), daemon=True)
            back.start()
            splice(self.request, origin)
            back.join()

    def _head(self) -> tuple[bytes, bytes]:
        received = b""
        while b"\r\n\r\n" not in received:
            block = self.request.recv(65536)
            if not block:
                return b"", b""
            received += block
        head, _, rest = received.partition(b"\r\n\r\n")
        return head, rest


def rewritten(head: bytes, hostname: str) -> bytes:
    """The request's head with a foreign Host, the visitor's address, and no keep-alive: one request, one splice."""
    first, *lines = head.split(b"\r\n")
    named = [(line.split(b":", 1)[0].lower(), line) for line in lines]
    upgrade = any(name == b"upgrade" for name, _ in named)
    dropped = {b"host", b"cf-connecting-ip", b"x-forwarded-for"} | (set() if upgrade else {b"connection"})
    kept = [line for name, line in named if name not in dropped]
    added = [f"Host: {hostname}", f"CF-Connecting-IP: {VISITOR}", f"X-Forwarded-For: {VISITOR}"]
    if not upgrade:
        added.append("Connection: close")
    return b"\r\n".join([first, *(line.encode() for line in added), *kept]) + b"\r\n\r\n"


def edge_error(status: int, title: str) -> bytes:
    body = f"<!DOCTYPE html><html><head><title>{title}</title></head><body>error code: {status}</body></html>"
    head = (
        f"HTTP/1.1 {status} {title}\r\nServer: cloudflare\r\nContent-Type: text/html\r\nConnection: close\r\n"
    )
    return f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()


def splice(source: socket.socket, target: socket.socket) -> None:
    """Pass bytes on until the source ends; then end both, as the edge does when one side has gone."""
    with contextlib.suppress(OSError):
        while block := source.recv(65536):
            target.sendall(block)
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


def option(name: str, default: str = "") -> str:
    arguments = sys.argv[1:]
    return arguments[arguments.index(name) + 1] if name in arguments else default


def serve_proxy(hostname: str) -> Proxy:
    origin = urlsplit(option("--url"))
    proxy = Proxy(("127.0.0.1", 0), ProxiedConnection)
    proxy.origin = (origin.hostname or "", origin.port or 80)
    proxy.hostname = hostname
    threading.Thread(target=proxy.serve_forever, args=(0.05,), daemon=True).start()
    return proxy


def serve_metrics(hostname: str, ready: bool) -> Metrics:
    host, port = option("--metrics", "127.0.0.1:0").rsplit(":", 1)
    metrics = Metrics((host, int(port)), MetricsRequest)
    metrics.ready, metrics.hostname = ready, hostname
    threading.Thread(target=metrics.serve_forever, args=(0.05,), daemon=True).start()
    return metrics


def say_url(url: str) -> None:
    title = "Your quick Tunnel has been created! Visit it at (it may take some time to be reachable):"
    border = "+" + "-" * (len(title) + 4) + "+"
    for line in (border, f"|  {title}  |", f"|  {url.ljust(len(title))}  |", border):
        say(f"INF {line}")


def run(mode: str, told: int, state: State) -> int:
    # The first word differs from that of the launch before.
    words = [WORDS[state.launches % len(WORDS)], *random.sample(WORDS, 3)]
    hostname = "-".join(words) + ".trycloudflare.com"
    proxy = serve_proxy(hostname)
    address = f"http://127.0.0.1:{proxy.server_address[1]}"
    url = address if os.environ.get("FAKE_CLOUDFLARED_PUBLIC") == "proxy" else f"https://{hostname}"
    metrics = serve_metrics(hostname, ready=mode != "never_ready")
    state.add(proxy=address, metrics=metrics.server_address[1], url=url)
    if mode != "unnamed":
        say_url(url)
    say("INF Version 2026.1.0 (Checksum 0)")
    say("INF Initial protocol http2")
    say(f"INF Starting metrics server on 127.0.0.1:{metrics.server_address[1]}/metrics")
    if metrics.ready:
        say("INF Registered tunnel connection connIndex=0 event=0 ip=198.51.100.1 location=tst01")
    os.read(told, 1)
    if mode == "unready":
        metrics.ready = False
        say('ERR Serve tunnel error error="connection with edge closed" connIndex=0 event=0 ip=198.51.100.1')
    if mode == "dies":
        say('ERR Initiating shutdown error="tunnel was deleted"')
        return 1
    threading.Event().wait()
    return 0


def terminate(*_: Any) -> None:
    say("INF Initiating graceful shutdown due to signal terminated ...")
    os._exit(0)


def main() -> int:
    if "--version" in sys.argv:
        print(VERSION)
        return 0
    state = State()
    modes = os.environ.get("FAKE_CLOUDFLARED_MODE", "ok").split(",")
    mode = modes[min(state.launches, len(modes)) - 1]
    told, tell = os.pipe()
    signal.signal(signal.SIGUSR1, lambda *_: os.write(tell, b"x"))
    signal.signal(signal.SIGTERM, signal.SIG_IGN if mode == "stubborn" else terminate)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if mode == "silent":
        threading.Event().wait()
    say("INF Thank you for trying Cloudflare Tunnel. https://www.cloudflare.com/website-terms/")
    say("INF Requesting new quick Tunnel on trycloudflare.com...")
    if mode in FAILURES:
        logged, printed = FAILURES[mode]
        if logged:
            say(logged)
        print(printed, file=sys.stderr, flush=True)
        return 1
    return run(mode, told, state)


if __name__ == "__main__":
    sys.exit(main())
