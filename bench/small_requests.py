"""Sends many small plain requests over connections that stay open, as fast as they are answered.

``wrk`` does it where it is installed, for it takes less of the cores than Python can; else a loop of selectors here.
Knows nothing of servers but how their answer to a request for one token is told from others.
"""

from __future__ import annotations

import json
import selectors
import shutil
import socket
import subprocess
import time
from pathlib import Path

from bench.load import RECEIVE_BYTES, LoadFailed, http_post
from bench.servers import Server
from bench.sse import HttpAnswer

TIMEOUT_S = 120

# wrk stops by the clock; this ends it with the last answer, whose time the C library tells.
SCRIPT = """
local ffi = require("ffi")
ffi.cdef[[
typedef struct { long sec; long nsec; } bench_time;
int clock_gettime(int clock, bench_time *out);
]]
local now = ffi.new("bench_time")
local function seconds()
  ffi.C.clock_gettime(1, now)
  return tonumber(now.sec) + tonumber(now.nsec) / 1e9
end
local bodies = { %(bodies)s }
local requests, sent, answered, wrong, start = {}, 0, 0, 0, nil
function init()
  for i, body in ipairs(bodies) do
    requests[i] = wrk.format("POST", "%(path)s", { ["Content-Type"] = "application/json" }, body)
  end
end
function request()
  start = start or seconds()
  sent = sent + 1
  return requests[(sent - 1) %% #requests + 1]
end
function response(status, headers, body)
  answered = answered + 1
  if status ~= 200 or not string.find(body, '%(mark)s', 1, true) then wrong = wrong + 1 end
  if answered == %(count)d then
    print(string.format('{"seconds": %%.6f, "wrong": %%d}', seconds() - start, wrong))
    io.stdout:flush()
    os.exit(0)
  end
end
"""


def post_many(
    port: int, server: Server, bodies: list[bytes], count: int, n_connections: int, folder: Path
) -> float:
    """Sends ``count`` requests, the bodies in turn; returns the seconds from the first to the last answer.

    Args:
        port: of 127.0.0.1. ``folder`` takes wrk's script.

    Raises:
        LoadFailed: an answer was refused or had another number of tokens than one.
    """
    wrk = shutil.which("wrk")
    if wrk is None:
        return post_with_selectors(port, server, bodies, count, n_connections)
    return post_with_wrk(wrk, port, server, bodies, count, n_connections, folder)


def post_with_wrk(
    wrk: str, port: int, server: Server, bodies: list[bytes], count: int, n_connections: int, folder: Path
) -> float:
    """``post_many`` by wrk."""
    script = folder / "wrk.lua"
    quoted = ", ".join(f"[==[{body.decode()}]==]" for body in bodies)
    mark = server.one_token.decode()
    script.write_text(SCRIPT % {"bodies": quoted, "path": server.path, "mark": mark, "count": count})
    limits = ["-t", "1", "-c", str(n_connections), "-d", f"{TIMEOUT_S}s", "--timeout", f"{TIMEOUT_S}s"]
    done = subprocess.run(
        [wrk, *limits, "-s", str(script), f"http://127.0.0.1:{port}"],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S + 10,
        check=False,
    )
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    if not found or found[0]["wrong"]:
        raise LoadFailed(f"{server.name} did not answer {count} one-token requests: {done.stdout[-500:]}")
    return float(found[0]["seconds"])


def post_with_selectors(
    port: int, server: Server, bodies: list[bytes], count: int, n_connections: int
) -> float:
    """``post_many`` in this thread."""
    requests = [http_post(server.path, body, keep_alive=True) for body in bodies]
    selector = selectors.DefaultSelector()
    sockets = [socket.create_connection(("127.0.0.1", port), timeout=30) for _ in range(n_connections)]
    answers: dict[socket.socket, HttpAnswer] = {}
    n_sent = n_answered = 0
    try:
        start = time.perf_counter()
        for sock in sockets[:count]:
            selector.register(sock, selectors.EVENT_READ, sock)
            answers[sock] = _send(sock, requests[n_sent % len(requests)])
            n_sent += 1
        while n_answered < count:
            ready = selector.select(TIMEOUT_S)
            if not ready:
                raise LoadFailed(f"{server.name} gave no answer within {TIMEOUT_S} s")
            for key, _ in ready:
                sock = key.data
                if not _receive(sock, answers[sock], server):
                    continue
                n_answered += 1
                if n_sent < count:
                    answers[sock] = _send(sock, requests[n_sent % len(requests)])
                    n_sent += 1
        return time.perf_counter() - start
    finally:
        selector.close()
        for sock in sockets:
            sock.close()


def _send(sock: socket.socket, request: bytes) -> HttpAnswer:
    sock.sendall(request)
    return HttpAnswer()


def _receive(sock: socket.socket, answer: HttpAnswer, server: Server) -> bool:
    """Takes what has come; True when the answer is whole, and right."""
    data = sock.recv(RECEIVE_BYTES)
    if not data:
        raise LoadFailed(f"{server.name} closed a connection that was to stay open")
    answer.feed(0.0, data)
    if answer.done and (answer.status != 200 or server.one_token not in answer.body):
        body = bytes(answer.body[:300]).decode(errors="replace")
        raise LoadFailed(f"{server.name} answered {answer.status}: {body}")
    return answer.done
