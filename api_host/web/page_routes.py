"""The chat page and its files: read once, sent with an ETag and under a policy that lets nothing else in.

Knows no token and no model; the page's scripts ask the host's own routes for all data, with the token.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path

from flask import Blueprint, Response, request
from werkzeug.exceptions import NotFound

from api_host.web.dialect import Operation

FOLDER = Path(__file__).with_name("page")
INDEX = "index.html"
_MEDIA = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".LICENSE": "text/plain",
    "": "text/plain",
}
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        # Markup becomes elements through DOMPurify only; a script that tries another way is stopped.
        "require-trusted-types-for 'script'",
        "trusted-types dompurify",
    )
)
_HEADERS = {
    # A quick tunnel's address changes with each start, a host's files with each version: always ask, mostly 304.
    "Cache-Control": "no-cache",
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_ASKED, _OPEN = b'data-token="asked"', b'data-token="none"'
OPERATIONS = (
    Operation(
        "GET",
        "/page/<path:name>",
        "The chat page's files; need no token",
        media=tuple(dict.fromkeys(_MEDIA.values())),
    ),
)


@dataclass(frozen=True)
class _File:
    content: bytes
    media: str

    def response(self) -> Response:
        response = Response(self.content, mimetype=self.media, headers=_HEADERS)
        response.set_etag(hashlib.sha256(self.content).hexdigest()[:32])
        return response.make_conditional(request)  # type: ignore[return-value]


@functools.cache
def _files() -> dict[str, _File]:
    """Every file of the page by its path below ``page/``. Nothing else of this disk can be named."""
    return {
        path.relative_to(FOLDER).as_posix(): _File(path.read_bytes(), _MEDIA[path.suffix])
        for path in FOLDER.rglob("*")
        if path.is_file()
    }


def chat_page(asks_token: bool) -> Response:
    """The page itself.

    Args:
        asks_token: whether the host wants a token; the page then asks for one before anything else.
    """
    index = _files()[INDEX]
    content = index.content if asks_token else index.content.replace(_ASKED, _OPEN)
    response = _File(content, index.media).response()
    response.headers["Vary"] = "Accept"
    return response


def add_files(routes: Blueprint) -> None:
    """Adds the route of the page's files, the endpoint ``page_file``."""

    @routes.get("/page/<path:name>")
    def page_file(name: str) -> Response:
        found = _files().get(name)
        if found is None or name == INDEX:
            raise NotFound
        return found.response()
