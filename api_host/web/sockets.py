"""Routes for WebSockets: a view that talks over a socket as long as both sides like.

Knows Flask and the handshake, nothing of what the messages mean. Each open socket holds one thread of the server, for
its view, and one of its own that reads: so its end is noticed at once, whatever the view is doing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from flask import Blueprint, Response, after_this_request, current_app, request
from flask.blueprints import BlueprintSetupState
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from api_host.errors import ApiHostError, InvalidRequest
from api_host.web.auth import is_handshake
from api_host.web.failures import Refused, unexpected
from api_host.web.open_socket import INTERNAL_ERROR, Socket, SocketClosed
from api_host.web.streaming import SOCKET_KEY

__all__ = ["MAX_OPEN", "Socket", "SocketClosed", "SocketsTaken", "socket_route"]

MAX_OPEN = 32
_OPEN_SOCKETS = "api_host.open_sockets"


class SocketsTaken(ApiHostError):
    """As many sockets are open as the host allows."""

    status = 503
    code = "too_many_sockets"


def socket_route(blueprint: Blueprint, path: str, view: Callable[[Socket], None]) -> None:
    """Adds a route for WebSockets to a blueprint.

    Before the handshake is answered, the token, its form, and the number of open sockets (32 in the whole application)
    are checked: what is wrong is answered in plain HTTP by the blueprint's dialect. A GET that asks for no WebSocket
    gets a 426.

    Args:
        blueprint: whose errors are its dialect's.
        path: as Flask writes it, without variables.
        view: talks over the socket, in a request context; when it returns, the socket is closed. What it raises closes
            it too: SocketClosed in silence, anything else with code 1011 and a line in the log.
    """

    def opened() -> Response:
        if not is_handshake(request):
            after_this_request(_asking_for_an_upgrade)
            raise Refused(
                "this address is a WebSocket; open it with a WebSocket client, as wss:// or ws://", status=426
            )
        places = current_app.extensions[_OPEN_SOCKETS]
        protocol, answer = _shake_hands()
        if not places.acquire(blocking=False):
            raise SocketsTaken(
                f"all {MAX_OPEN} WebSockets of this host are in use; close one, or try again later",
                retry_after=5,
            )
        try:
            _serve(Socket(request.environ[SOCKET_KEY], protocol), answer, view)
        finally:
            places.release()
        return Response(status=101)  # for the counters; the server sends nothing of it

    def make_room(state: BlueprintSetupState) -> None:
        state.app.extensions.setdefault(_OPEN_SOCKETS, threading.BoundedSemaphore(MAX_OPEN))

    blueprint.record(make_room)
    name = f"socket {path}".replace(".", "_")
    blueprint.add_url_rule(path, name, opened, websocket=True)
    blueprint.add_url_rule(path, name, opened, methods=["GET"])


def _asking_for_an_upgrade(response: Response) -> Response:
    response.headers["Upgrade"] = "websocket"
    return response


def _shake_hands() -> tuple[WSConnection, bytes]:
    """The protocol of the current request, and the bytes that accept it. Raises InvalidRequest."""
    # Werkzeug and the server have judged the rest of the head already.
    names = ("Connection", "Upgrade", "Sec-WebSocket-Key", "Sec-WebSocket-Version")
    head = [
        (name.encode(), request.headers[name].encode("latin-1")) for name in names if name in request.headers
    ]
    protocol = WSConnection(ConnectionType.SERVER)
    try:
        protocol.initiate_upgrade_connection([(b"Host", b"host"), *head], "/")
        list(protocol.events())
        return protocol, protocol.send(AcceptConnection())
    except (RemoteProtocolError, LocalProtocolError) as failure:
        raise InvalidRequest(f"the WebSocket handshake is not complete: {failure}") from failure


def _serve(sock: Socket, answer: bytes, view: Callable[[Socket], None]) -> None:
    try:
        sock.open(answer)
    except OSError:
        return
    try:
        view(sock)
    except SocketClosed:
        pass
    except Exception as failure:  # noqa: BLE001 - logged; the client gets an id to ask about
        sock.close(INTERNAL_ERROR, f"internal error {unexpected(failure).details['id']}")
    finally:
        sock.on_gone(None)
        sock.close()
