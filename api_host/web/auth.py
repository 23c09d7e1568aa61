"""The access token at the door: where a request may carry it, and whether it is the right one.

Knows nothing of what the token opens. Tokens are compared in constant time, never logged and never echoed.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterator
from typing import Any

from flask import Request

from api_host.errors import WrongToken
from api_host.web.body import body_token

COOKIE = "api_host_token"
_SCHEMES = ("bearer", "api-key")


class TokenGuard:
    """Lets requests with the right token pass.

    Args:
        token: the access token; None leaves everything open.
    """

    def __init__(self, token: str | None) -> None:
        self._token = None if token is None else token.encode()

    def check(self, request: Request) -> None:
        """Returns for a request that may pass.

        A token in a header is judged before the body is read; otherwise the chat page's cookie and the body's
        field ``token`` count, and ``?token=`` of a WebSocket's handshake: a browser can give it nothing else.

        Raises:
            WrongToken: no token, or not the right one.
            BodyTooLarge, InvalidRequest: the body that would have to hold the token cannot be read.
        """
        if self._token is None:
            return
        offered = list(_header_tokens(request))
        if offered:
            if any(self._matches(token) for token in offered):
                return
            raise WrongToken("wrong token")
        if self._matches(request.cookies.get(COOKIE)):
            return
        if is_handshake(request) and self._matches(request.args.get("token")):
            return
        if request.method not in ("GET", "HEAD") and self._matches(body_token(request)):
            return
        raise WrongToken("wrong token")

    def _matches(self, offered: Any) -> bool:
        if self._token is None or not isinstance(offered, str):
            return False
        return hmac.compare_digest(offered.encode("utf-8", "surrogatepass"), self._token)


def is_handshake(request: Request) -> bool:
    """Whether the request opens a WebSocket."""
    return request.method == "GET" and request.headers.get("Upgrade", "").lower() == "websocket"


def _header_tokens(request: Request) -> Iterator[str]:
    scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() in _SCHEMES:
        yield credentials.strip()
    api_key = request.headers.get("X-Api-Key")
    if api_key is not None:
        yield api_key.strip()
