"""The current request, and what is noted on it (Flask's ``g``), for code that asks them more than once.

Knows nothing of either. Each access through Flask's proxies finds the context anew, which costs more than the answer.
"""

from __future__ import annotations

from typing import Any, cast

from flask import Request, g, request


def this_request() -> Request:
    """The current request itself."""
    return cast(Request, cast(Any, request)._get_current_object())


def notes() -> Any:
    """The current request's ``g`` itself."""
    return cast(Any, g)._get_current_object()
