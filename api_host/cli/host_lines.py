"""A host's facts for a script: a JSON object, one a line, whenever something has changed that a script acts on.

Knows Facts and nothing of hosts. Figures that change all the time are left to ``GET /metrics``.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TextIO

from api_host.facts import Facts


class HostLines:
    """Writes a line for each change.

    Args:
        out: where.
        facts: reads those of this moment.
        token: told in the first line only; None when there is none.
    """

    def __init__(self, out: TextIO, facts: Callable[[], Facts], token: str | None) -> None:
        self._out = out
        self._facts = facts
        self._token = token
        self._told: dict[str, Any] | None = None

    def look(self) -> None:
        """Writes a line if there is something new."""
        facts = self._facts()
        if facts.uptime is None:
            return
        state = _state(facts)
        if state == self._told:
            return
        first = {"token": self._token} if self._told is None else {}
        self._out.write(json.dumps({**first, **state}, ensure_ascii=False) + "\n")
        self._out.flush()
        self._told = state


def _state(facts: Facts) -> dict[str, Any]:
    places = facts.addresses
    return {
        "local_url": places.local,
        "public_url": places.public,
        "no_public_url": places.problem,
        "models": [
            {
                "name": model.name,
                "status": model.status,
                "device": model.device,
                "n_ctx": model.n_ctx,
                "n_slots": model.n_slots,
                "notes": list(model.notes),
                "error": model.error,
            }
            for model in facts.models
        ],
    }
