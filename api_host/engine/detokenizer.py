"""Turns the bytes of tokens into text that may be shown: whole characters, and no part of a stop string.

Knows nothing of tokens or of why a sequence ends.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence

_Decoder = codecs.getincrementaldecoder("utf-8")


class Detokenizer:
    """One text on its way out.

    ``push`` bytes and show what it returns; once ``stopped`` is true nothing more may be pushed. ``flush`` gives
    what was held back, for a text that ended without a stop string. Of the ``stop`` strings,
    those in ``kept`` stay at the end of the text that they have ended.
    """

    def __init__(self, stop: Sequence[str] = (), kept: Sequence[str] = ()) -> None:
        self._stop = [text for text in stop if text]
        self._kept = kept
        self._decoder = _Decoder("replace")
        self._held = ""
        self.stopped = False

    @property
    def watches(self) -> bool:
        """Whether there are stop strings to be found."""
        return bool(self._stop)

    def push(self, data: bytes) -> str:
        text = self._decoder.decode(data)
        if not self._stop:
            return text
        return self._release(self._held + text)

    def flush(self) -> str:
        rest = self._release(self._held + self._decoder.decode(b"", final=True))
        if not self.stopped:
            rest, self._held = rest + self._held, ""
        return rest

    def _release(self, text: str) -> str:
        """What of ``text`` may be shown; holds back the longest end that could begin a stop string."""
        found = [(at, stop) for at, stop in ((text.find(stop), stop) for stop in self._stop) if at >= 0]
        if found:
            self.stopped, self._held = True, ""
            at, stop = min(found)
            return text[: at + len(stop)] if stop in self._kept else text[:at]
        held = max((_overlap(text, stop) for stop in self._stop), default=0)
        cut = len(text) - held
        self._held = text[cut:]
        return text[:cut]


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of ``text`` with which ``stop`` begins."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0
