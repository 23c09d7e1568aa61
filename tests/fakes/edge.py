"""A scriptable HTTP server on the loopback that answers as a host, and misbehaves as an edge does.

Each request gets the next reply of the script, byte for byte: nothing here repairs what a test has broken.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

WAIT_S = 10.0


@dataclass
class Seen:
    """A request as it came; ``connection`` counts the connections from 0."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: int

    @property
    def json(self) -> Any:
        return json.loads(self.body)


UntilGone = object()
"""A step of a reply: waits for the client to hang up."""

Step = bytes | threading.Event | object


@dataclass
class Reply:
    """The bytes of an answer, with waits between them; ``keep`` leaves the connection open for another request."""

    steps: list[Step]
    keep: bool = False


Script = Reply | Callable[[Seen], Reply]


def raw(*steps: Step, keep: bool = False) -> Reply:
    return Reply(list(steps), keep)


def whole(body: bytes | str, status: int = 200, content_type: str = "text/html", **headers: str) -> Reply:
    """An answer with a Content-Length; ``_`` in a header's name is a dash."""
    content = body.encode() if isinstance(body, str) else body
    return raw(
        _head(status, content_type, {**headers, "Content_Length": str(len(content))}) + content, keep=True
    )


def json_reply(body: Any, status: int = 200, **headers: str) -> Reply:
    return whole(json.dumps(body), status, "application/json", **headers)


def chunked(*pieces: Step, content_type: str = "application/json", end: bool = True) -> Reply:
    """A chunked answer, one chunk a piece; without ``end`` the connection is closed inside the body."""
    steps: list[Step] = [_head(200, content_type, {"Transfer_Encoding": "chunked"})]
    steps += [
        b"%x\r\n%b\r\n" % (len(piece), piece) if isinstance(piece, bytes) else piece for piece in pieces
    ]
    if end:
        steps.append(b"0\r\n\r\n")
    return raw(*steps, keep=end)


def events(*pieces: Step, end: bool = True) -> Reply:
    """A chunked stream of server-sent events."""
    return chunked(*pieces, content_type="text/event-stream; charset=utf-8", end=end)


def event(data: Any, name: str | None = None) -> bytes:
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(data, ensure_ascii=False)}\n\n".encode()


def text(piece: str, index: int = 0, finish_reason: str | None = None) -> bytes:
    return event({"text": piece, "index": index, "finish_reason": finish_reason})


DONE = event(
    {
        "model": "demo",
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "cached_tokens": 1, "total_tokens": 5},
        "timings": {"queued": 0.0, "prefill": 0.1, "decode": 0.2, "tokens_per_second": 10.0},
        "finish_reason": "stop",
    },
    "done",
)


def _head(status: int, content_type: str, headers: dict[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} Said", f"Content-Type: {content_type}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


@dataclass
class Edge:
    """The server; a context manager. ``requests`` is what it was asked, ``gone`` is set when a client hung up.

    A request beyond the script's end gets a 500 that says so.
    """

    script: list[Script] = field(default_factory=list)
    requests: list[Seen] = field(default_factory=list)
    gone: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads: list[threading.Thread] = []
        self._open: list[socket.socket] = []
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def answers(self, *replies: Script) -> Edge:
        self.script.extend(replies)
        return self

    def __enter__(self) -> Edge:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            open_now = list(self._open)
        for sock in open_now:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(WAIT_S)

    def _start(self, target: Callable[..., None], *arguments: Any) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        number = 0
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self._open.append(sock)
            self._start(self._serve, sock, number)
            number += 1

    def _serve(self, sock: socket.socket, number: int) -> None:
        with sock, suppress(OSError), sock.makefile("rb") as received:
            while (request := _read_request(received, number)) is not None:
                with self._lock:
                    self.requests.append(request)
                    reply = (
                        self.script.pop(0)
                        if self.script
                        else json_reply({"error": "the script is over"}, 500)
                    )
                reply = reply(request) if callable(reply) else reply
                self._play(sock, received, reply.steps)
                if not reply.keep:
                    return

    def _play(self, sock: socket.socket, received: Any, steps: Iterable[Step]) -> None:
        for step in steps:
            if isinstance(step, bytes):
                sock.sendall(step)
            elif isinstance(step, threading.Event):
                step.wait(WAIT_S)
            else:
                sock.settimeout(WAIT_S)
                with suppress(ConnectionError):
                    if received.read(1):
                        return
                self.gone.set()


def _read_request(received: Any, connection: int) -> Seen | None:
    line = received.readline().decode("latin-1")
    if not line.rstrip().endswith("HTTP/1.1"):
        return None
    method, path, _ = line.split()
    headers = {}
    while (line := received.readline().decode("latin-1").strip()) != "":
        name, _, value = line.partition(":")
        headers[name.title()] = value.strip()
    body = received.read(int(headers.get("Content-Length", 0)))
    return Seen(method, path, headers, body, connection)
