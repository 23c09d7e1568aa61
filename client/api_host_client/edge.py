"""Tells the answers of Cloudflare's edge from those of the host, and says what they mean.

Knows nothing of sockets: it is given a status, headers and a text. A tunnel's edge answers with HTML, with a
line such as ``error code: 1033``, or with JSON (RFC 9457, ``"cloudflare_error": true``). The numbers are
described at https://developers.cloudflare.com/support/troubleshooting/http-status-codes/.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import NamedTuple

from api_host_client.errors import (
    AccessDenied,
    EdgeError,
    EdgeTimeout,
    HostUnreachable,
    NotAnApiHost,
    Redirected,
    TooManyRequests,
    TunnelGone,
)


class _Meaning(NamedTuple):
    kind: type[EdgeError]
    cause: str
    cure: str


_NEW_URL = "take the URL that the host prints now and make a new Client with it"
_LOOK = "see whether the host still runs, then try again"
_STREAM = "use stream_chat or stream, whose keep-alives hold the connection"
_WAIT = "wait a minute and send fewer requests at a time"
_OTHER_WAY = "call from another network, without a proxy or VPN that changes requests"

_GONE = _Meaning(TunnelGone, "the tunnel of this URL is gone", _NEW_URL)
_SILENT = _Meaning(EdgeTimeout, "the host sent nothing for too long, so the edge cut the request", _STREAM)
_RATE = _Meaning(TooManyRequests, "the edge refuses: too many requests", _WAIT)
_DENIED = _Meaning(AccessDenied, "the edge refuses requests from here", _OTHER_WAY)
_TLS = _Meaning(HostUnreachable, "the edge could not speak TLS with the host", _LOOK)

_MEANINGS: dict[int, _Meaning] = {
    429: _RATE,
    502: _Meaning(HostUnreachable, "the tunnel is up, but the host behind it does not answer", _LOOK),
    504: _SILENT,
    520: _Meaning(HostUnreachable, "the edge got an empty or unreadable answer from the host", _LOOK),
    521: _Meaning(HostUnreachable, "the host refused the edge's connection", _LOOK),
    522: _Meaning(HostUnreachable, "the edge could not connect to the host in time", _LOOK),
    523: _Meaning(HostUnreachable, "the edge found no way to the host", _LOOK),
    524: _SILENT,
    525: _TLS,
    526: _TLS,
    530: _GONE,
    1006: _DENIED,
    1007: _DENIED,
    1008: _DENIED,
    1010: _Meaning(
        AccessDenied,
        "the edge's browser integrity check refused this client's signature",
        "send this package's own User-Agent unchanged, without a proxy that rewrites it",
    ),
    1015: _RATE,
    1016: _GONE,
    1020: _DENIED,
    1033: _GONE,
}
_CHALLENGE = _Meaning(AccessDenied, "the edge asks for a browser challenge", _OTHER_WAY)
_PAGE = _Meaning(NotAnApiHost, "a web page came instead of the host's JSON", f"check the URL: {_NEW_URL}")

EDGE_STATUSES = frozenset({502, *range(520, 528), 530})
_CODE = re.compile(
    r"cf-error-code[^>]*>\s*(\d{3,4})|\berror(?:\s+code)?:?\s+(\d{3,4})\b|<title>[^<]*?\b(\d{3,4})\s*:",
    re.IGNORECASE,
)
_PLAIN = re.compile(r"\s*error code:\s*(\d{3,4})\s*", re.IGNORECASE)
_LONGEST_WAIT_S = 1e9  # JSON's whole numbers may be larger than any float
_SEARCHED_CHARACTERS = 64 * 1024


def edge_error(
    status: int, headers: Mapping[str, str], text: str, retry_after: float | None = None
) -> EdgeError | None:
    """The edge's error that an answer is, or None when the answer is the host's.

    Args:
        status: the HTTP status; a 200 with a web page is an error too.
        headers: the answer's headers, looked up in any case of letters.
        text: the body.
        retry_after: seconds, as the caller read them from ``Retry-After``.
    """
    ray = headers.get("CF-RAY")
    if 300 <= status < 400:
        place = _without_query(headers.get("Location", "somewhere else"))
        message = f"the address redirects to {place}; make a Client with the address it leads to"
        return Redirected(message, status=status, ray=ray)
    html = _is_html(headers, text)
    code, retry_in_body = _code(text[:_SEARCHED_CHARACTERS], html)
    if code is None and not html and status not in EDGE_STATUSES:
        return None
    meaning = _MEANINGS.get(code or 0) or _MEANINGS.get(status)
    if headers.get("cf-mitigated") == "challenge":
        meaning = _CHALLENGE
    if meaning is None:
        meaning = _PAGE if html else _Meaning(EdgeError, "the edge answered in the host's place", _LOOK)
    return meaning.kind(
        f"{meaning.cause}: {meaning.cure}",
        status=status,
        code=code or (status if status in EDGE_STATUSES else None),
        ray=ray,
        retry_after=retry_after if retry_after is not None else retry_in_body,
    )


def _is_html(headers: Mapping[str, str], text: str) -> bool:
    if "html" in headers.get("Content-Type", "").lower():
        return True
    return text[:200].lstrip("\ufeff \t\r\n").lower().startswith(("<!doctype", "<html"))


def _code(text: str, html: bool) -> tuple[int | None, float | None]:
    """Cloudflare's number in a body and the seconds to wait that its JSON names; None for what is not there."""
    if html:
        numbers = (int(number) for match in _CODE.finditer(text) for number in match.groups() if number)
        return next((n for n in numbers if n in _MEANINGS or 1000 <= n < 1300), None), None
    plain = _PLAIN.fullmatch(text)
    if plain:
        return int(plain.group(1)), None
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return None, None
    if not isinstance(data, dict) or data.get("cloudflare_error") is not True:
        return None, None
    code, wait = data.get("error_code"), data.get("retry_after")
    return (
        code if isinstance(code, int) else 0,
        float(wait) if isinstance(wait, int | float) and wait < _LONGEST_WAIT_S else None,
    )


def _without_query(location: str) -> str:
    return re.split(r"[?#]", location, maxsplit=1)[0]
