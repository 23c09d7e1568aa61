"""A site with a WebSocket route, and the bytes that a client sends on it."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable

import websocket
from flask import Blueprint

from api_host.web.sockets import Socket, socket_route
from tests.fakes.pipeline import FakePipeline
from tests.web.site import TOKEN, Site

HANDSHAKE = (
    "GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{more}\r\n"
)


class Line:
    """A site with one WebSocket route, whose view can be changed."""

    def __init__(self) -> None:
        self.site = Site(FakePipeline())
        self.view: Callable[[Socket], None] = echo
        blueprint = Blueprint("line", __name__)
        socket_route(blueprint, "/line", lambda sock: self.view(sock))
        self.site.app.register_blueprint(blueprint)
        self.url = f"ws://127.0.0.1:{self.site.port}/line"

    def open(self) -> websocket.WebSocket:
        return websocket.create_connection(self.url, timeout=5, header=[f"Authorization: Bearer {TOKEN}"])

    def raw(self, path: str = f"/line?token={TOKEN}", more: str = "") -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", self.site.port), timeout=5)
        sock.sendall(HANDSHAKE.format(path=path, more=more).encode())
        return sock


def echo(sock: Socket) -> None:
    while True:
        message = sock.receive()
        sock.send(message if isinstance(message, str) else repr(message))


def upgraded(sock: socket.socket) -> bytes:
    """Reads the head of the handshake's answer."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += sock.recv(1)
    return head


def read(sock: socket.socket, size: int) -> bytes:
    return b"" if size == 0 else (piece := sock.recv(size)) + read(sock, size - len(piece))


def frame(opcode: int, payload: bytes, last: bool = True) -> bytes:
    """A client's frame, masked with zeros (RFC 6455, section 5.2)."""
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else b"\xfe" + struct.pack(">H", size)
    return bytes([(0x80 if last else 0) | opcode]) + length + bytes(4) + payload
