"""Which stop sequence ended a text, for answers that name it; the sequence itself is cut off.

Knows the end of a text, as the engine leaves it with ``include_stop``, and no dialect.
"""

from __future__ import annotations

from api_host.generation import Chunk


class StopCut:
    """One text on its way out; ``matched`` is the stop sequence that ended it, once its last chunk is taken."""

    def __init__(self, stop: list[str]) -> None:
        self._stop = sorted(stop, key=len, reverse=True)
        self._held = ""
        self.matched: str | None = None

    def take(self, chunk: Chunk) -> str:
        """What of the text is certain: all but a stop sequence at its end, until it is known what follows."""
        text = self._held + chunk.text
        at_end = next((stop for stop in self._stop if text.endswith(stop)), "")
        self._held = "" if chunk.finish_reason else at_end
        if chunk.finish_reason == "stop" and at_end:
            self.matched = at_end
        elif chunk.finish_reason:
            return text
        return text.removesuffix(at_end)
