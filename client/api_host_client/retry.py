"""Decides whether a failed request may be sent once more, and after how long. Sends and waits for nothing.

Only what cannot make the host do the same work twice: the request never arrived; the host or the edge refused
it and named a time; or a GET met an edge that lost the host for a moment.
"""

from __future__ import annotations

from api_host_client.errors import ClientError, ConnectionRefused, EdgeError, HostError, HostNotFound

MAX_WAIT_S = 30.0
_FIRST_PAUSE_S = 0.5
_REFUSALS = frozenset({429, 503})
_PASSING_AT_THE_EDGE = frozenset({502, 520, 521, 522, 523, 530})


def pause_before_retry(error: ClientError, method: str, attempt: int, waited: float = 0.0) -> float | None:
    """Seconds to wait before sending again, or None for never.

    Args:
        error: why the last attempt failed.
        method: ``GET`` or ``POST``.
        attempt: how many retries there were before, from 0; doubles the pauses nobody has named.
        waited: seconds already spent in pauses; all pauses of a request stay within 30 s.
    """
    pause = _pause(error, method, attempt)
    return pause if pause is not None and waited + pause <= MAX_WAIT_S else None


def _pause(error: ClientError, method: str, attempt: int) -> float | None:
    own_pause = _FIRST_PAUSE_S * 2**attempt
    if isinstance(error, ConnectionRefused | HostNotFound):
        return own_pause
    if isinstance(error, HostError | EdgeError) and error.status in _REFUSALS:
        return error.retry_after
    if isinstance(error, EdgeError) and method == "GET" and error.status in _PASSING_AT_THE_EDGE:
        return own_pause
    return None
