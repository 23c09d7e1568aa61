"""The current request, and what is noted on it (Flask's ``g``), for code that asks them more than once.

Knows nothing of either. Each access through Flask's proxies finds the context anew, which costs more than the answer.
"""

from __future__ import annotations

from typing import Any

from flask import Request, g, request

_request: Any = request
_g: Any = g


def this_request() -> Request:
    """The current request itself."""
    current: Request = _request._get_current_object()
    return current


def notes() -> Any:
    """The current request's ``g`` itself."""
    return _g._get_current_object()
