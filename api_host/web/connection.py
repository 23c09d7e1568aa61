"""One client's connection under cheroot: deadlines, bodies, refusals in JSON, and a close that lets them be read.

Knows HTTP's framing and nothing of the application.
"""

from __future__ import annotations

import contextlib
import email.utils
import functools
import json
import logging
import re
import socket
import time
from typing import Any

from cheroot import server as cheroot_server

from api_host.web.chunked import ChunkedBody
from api_host.web.client_socket import ClientSocket, make_file

log = logging.getLogger(__name__)

HEAD_S = 20.0
BODY_S = 600.0
LINGER_S = 3.0
# A thread waits that long for the next request of its connection, as long as so many others are idle.
SOON_S = 0.02
SPARE_THREADS = 32
_DISCARD_BYTES = 1 << 16
_WITH_A_PATH = re.compile(rb"[A-Z]+ /")
_MANY_SLASHES = re.compile(rb"//+")

_CODES = {
    "400": "bad_request",
    "405": "method_not_allowed",
    "408": "request_timeout",
    "413": "body_too_large",
    "414": "uri_too_long",
    "500": "internal_error",
    "501": "not_implemented",
    "503": "host_busy",
    "505": "http_version_not_supported",
}


def refusal(status: str, sentence: str, retry_after: int | None = None) -> bytes:
    """A whole HTTP response that ends its connection.

    Args:
        status: such as "503 Service Unavailable".
        sentence: cause and cure.
        retry_after: seconds.
    """
    body = json.dumps({"error": sentence, "code": _CODES.get(status[:3], "bad_request")}).encode()
    head = [
        f"HTTP/1.1 {status}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "Access-Control-Allow-Origin: *",
        "Connection: close",
    ]
    if retry_after is not None:
        head.append(f"Retry-After: {retry_after}")
    return "\r\n".join([*head, "", ""]).encode("ascii") + body


@functools.lru_cache(maxsize=1)
def _date(second: int) -> bytes:
    """The value of ``Date`` (RFC 9110, section 6.6.1)."""
    return email.utils.formatdate(second, usegmt=True).encode("ascii")


class _RequestLine:
    """The head's file, in whose request line slashes of the path count once: two in front would begin a host's name.

    A base URL that ends in a slash, joined with ``/v1``, gives two.
    """

    def __init__(self, file: Any) -> None:
        self._file = file

    def readline(self) -> bytes:
        line: bytes = self._file.readline()
        if not _WITH_A_PATH.match(line):
            return line
        path, mark, query = line.partition(b"?")
        return _MANY_SLASHES.sub(b"/", path) + mark + query


class _Headers:
    """The head's file, which notes what it says of the body's length: cheroot keeps the last of several."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.lengths: set[bytes] = set()

    def readline(self) -> bytes:
        line: bytes = self._file.readline()
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            self.lengths.add(value.strip())
        return line


class Request(cheroot_server.HTTPRequest):
    """A request whose refusals are JSON, and whose body is bounded however it is framed."""

    def parse_request(self) -> None:
        self.conn.socket.allow(HEAD_S)
        super().parse_request()
        self.conn.socket.allow(BODY_S)

    def read_request_line(self) -> bool:
        head, self.rfile = self.rfile, _RequestLine(self.rfile)
        try:
            return bool(super().read_request_line())
        finally:
            self.rfile = head

    def read_request_headers(self) -> bool:
        head, self.rfile = self.rfile, _Headers(self.rfile)
        try:
            whole, lengths = super().read_request_headers(), self.rfile.lengths
        finally:
            self.rfile = head
        if not whole:
            return False
        if lengths and (self.chunked_read or len(lengths) > 1 or not all(map(bytes.isdigit, lengths))):
            self.simple_response("400 Bad Request", "Malformed Content-Length Header.")
            return False
        # cheroot knows it only in small letters and alone.
        if b"close" in self.inheaders.get(b"Connection", b"").lower():
            self.close_connection = True
        return True

    def respond(self) -> None:
        try:
            self._answer()
        finally:
            # The head of an answer without a body still waits for one.
            self.conn.wfile.flush()

    def _answer(self) -> None:
        if not self.chunked_read:
            super().respond()
            return
        self.rfile = ChunkedBody(self.conn.rfile)
        self.server.gateway(self).respond()
        if self.chunked_write:
            self.conn.wfile.write(b"0\r\n\r\n")

    def send_headers(self) -> None:
        if self.unread:
            self.close_connection = True
            self.conn.unread = True
        if not any(name.lower() == b"date" for name, _ in self.outheaders):
            self.outheaders.append((b"Date", _date(int(time.time()))))
        # WSGI has a head sent when the first piece of the body is there: one send does for both.
        self.conn.wfile.hold_next()
        super().send_headers()

    @property
    def unread(self) -> bool:
        """Whether the client still has some of the body to send."""
        body = getattr(self, "rfile", None)
        if isinstance(body, ChunkedBody):
            return not body.ended
        return getattr(body, "remaining", 0) > 0

    def simple_response(self, status: str, msg: str = "") -> None:
        self.close_connection = True
        self.conn.unread = True
        sentence = msg or str(status)[4:]
        with contextlib.suppress(OSError):
            self.conn.wfile.write(refusal(str(status), sentence))


class Connection(cheroot_server.HTTPConnection):
    """A connection that its server can cut, and that is closed only when a refusal could be read."""

    RequestHandlerClass = Request

    def __init__(self, server: Any, sock: socket.socket, makefile: Any = None) -> None:
        client = ClientSocket(sock.detach())
        client.allow(HEAD_S)
        # Not cheroot's files, which are Python's slow ones and hold the socket open until they are closed, too.
        super().__init__(server, client, make_file)
        self.unread = False

    def communicate(self) -> bool:
        """Requests and their answers, as long as the next one is soon here; whether the connection is to be kept."""
        with self.server.live(self):
            kept = bool(super().communicate())
            while kept and self._next_is_here():
                kept = bool(super().communicate())
            if not kept and self.unread:
                self._discard()
            return kept

    def _next_is_here(self) -> bool:
        """Whether the next request begins to arrive at once.

        Handing the connection back and forth between threads costs as much as a fifth of a small request.
        """
        if self.server.spare_threads < SPARE_THREADS:
            return False
        try:
            return bool(self.rfile.arrives(SOON_S))
        except OSError:
            return False

    def cut(self) -> None:
        """Ends the connection from another thread: whoever reads or writes it sees its end."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)

    def _discard(self) -> None:
        # Closing with unread bytes resets the connection, and the client would lose the answer.
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)
            self.socket.allow(LINGER_S)
            while self.socket.receive(_DISCARD_BYTES):
                pass
