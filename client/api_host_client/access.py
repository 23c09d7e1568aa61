"""Where the host is and how a request proves that it may ask: the address and the token.

Sends nothing. The token is shown by nothing here: not by ``repr``, not by an error's text.
"""

from __future__ import annotations

import ipaddress
from typing import Any
from urllib.parse import SplitResult, urlsplit

from requests import PreparedRequest
from requests.auth import AuthBase

from api_host_client.errors import BadArgument

HIDDEN = "***"


class Address:
    """The host's base URL, however the user spelled it.

    Args:
        url: with or without scheme (``https``, or ``http`` for this machine), trailing slash or ``/api``.

    Raises:
        BadArgument: no host name, or one or a port that cannot be, another scheme than http and https, a user name,
            a query or a fragment.
    """

    def __init__(self, url: str) -> None:
        parts = _split(url.strip() if isinstance(url, str) else "")
        if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
            raise BadArgument("url: expected an address such as https://name.trycloudflare.com")
        if "@" in parts.netloc or parts.query or parts.fragment:
            raise BadArgument(
                "url: give the address alone, without user name, ? and #; the token is an argument"
            )
        self.host = parts.hostname
        self.base = (
            f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/').removesuffix('/api').rstrip('/')}"
        )

    @property
    def is_loopback(self) -> bool:
        """Whether the host is on this machine, where no proxy of the environment belongs in between."""
        return _is_loopback(self.host)

    def join(self, path: str) -> str:
        return self.base + path


class Token(AuthBase):
    """The access token as a header of each request; None sends none (and no login from a ``.netrc`` either).

    Raises:
        BadArgument: characters that no header can carry; the text does not repeat the token.
    """

    def __init__(self, token: str | None) -> None:
        text = str(token or "").strip()
        if not text.isascii() or not text.isprintable() or " " in text:
            raise BadArgument("token: expected printable ASCII characters without spaces")
        self._text = text

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        if self._text:
            request.headers["Authorization"] = f"Bearer {self._text}"
        return request

    def __repr__(self) -> str:
        return HIDDEN if self._text else "None"

    def scrub(self, value: Any) -> Any:
        """The value without the token in any of its texts, for errors: an edge may echo what it was sent."""
        if not self._text:
            return value
        if isinstance(value, str):
            return value.replace(self._text, HIDDEN)
        if isinstance(value, list):
            return [self.scrub(item) for item in value]
        if isinstance(value, dict):
            return {self.scrub(name): self.scrub(item) for name, item in value.items()}
        return value


def _split(text: str) -> SplitResult | None:
    """The parts of an address; None of one that nothing could be sent to."""
    if any(character.isspace() for character in text):
        return None
    try:
        if "://" not in text:
            text = f"{'http' if _is_loopback(urlsplit('//' + text).hostname) else 'https'}://{text}"
        parts = urlsplit(text)
        (parts.hostname or "").encode("idna")
        PreparedRequest().prepare_url(text, None)
    except ValueError:  # of urlsplit, of a label of the name, of requests: a port, a bracket, a letter
        return None
    return parts


def _is_loopback(host: str | None) -> bool:
    if host in (None, "localhost"):
        return host is not None
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
