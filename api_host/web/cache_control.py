"""What a request's own header lets the response cache do for it, and what the cache tells of it (RFC 9111, 5.2.1).

Knows headers, nothing of the cache. What is told stays with the request, so that no dialect has to pass it on.
"""

from __future__ import annotations

from flask import g, has_request_context, request

from api_host.response_cache.cached import Use

_TOLD = "api_host_cache"


class CacheControl:
    """The current request's terms: ``no-cache`` has it answered anew, and ``no-store`` also keeps nothing of it."""

    def use(self) -> Use:
        if not has_request_context():
            return Use.FULL
        asked = request.cache_control
        if asked.no_store:
            return Use.NONE
        return Use.REFRESH if asked.no_cache else Use.FULL

    def told(self, hit: bool) -> None:
        # Of a request that is several generations, one that was not known makes all of it a miss.
        if has_request_context():
            setattr(g, _TOLD, "hit" if hit and g.get(_TOLD) != "miss" else "miss")


def cache_result() -> str | None:
    """Whether the cache knew the answer to the current request, "hit" or "miss"; None where it had no part in it."""
    return g.get(_TOLD)


def take_cache_result() -> str | None:
    """The same, and forgets it: a WebSocket's request is many generations, one after another."""
    return g.pop(_TOLD, None)
