"""Flask less what this host has no use for: each costs calls of every request, which run behind each other's.

Knows no route.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Flask, Request
from flask.sessions import NullSession, SessionInterface

from api_host.config import MAX_BODY_BYTES


class _Bounded(Request):
    """A request whose body is bounded, and which is not asked how on each look."""

    max_content_length = MAX_BODY_BYTES
    max_form_memory_size = MAX_BODY_BYTES
    max_form_parts = None


class _NoSessions(SessionInterface):
    """There are no cookies of Flask's, so that one session, which cannot be written to, is everybody's."""

    _none = NullSession()

    def open_session(self, app: Flask, request: Request) -> NullSession:
        return self._none


class Application(Flask):
    """An application whose views are plain functions."""

    request_class = _Bounded
    session_interface = _NoSessions()

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        return func
