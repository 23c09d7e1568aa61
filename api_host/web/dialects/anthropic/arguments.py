"""The arguments of a call as clients read them: as JSON that is not whole yet, anew with each piece.

Knows nothing of events. The official clients raise where a text can be no JSON any more, such as Python's ``True``.
"""

from __future__ import annotations

import bisect

import pydantic_core


class Readable:
    """The arguments of one call, up to where they can be no JSON any more."""

    def __init__(self) -> None:
        self._told = ""
        self._ended = False

    def take(self, piece: str) -> str:
        """What of the next piece may be told."""
        if not self._ended and _is_broken(self._told + piece):
            self._ended = True
            wrong = bisect.bisect(
                range(len(piece)), False, key=lambda n: _is_broken(self._told + piece[: n + 1])
            )
            piece = piece[:wrong]
        elif self._ended:
            piece = ""
        self._told += piece
        return piece


def _is_broken(beginning: str) -> bool:
    try:
        pydantic_core.from_json(beginning, allow_partial=True)
    except ValueError:
        return bool(beginning)
    return False
