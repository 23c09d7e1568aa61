"""Reading the streams of OpenAI's API as they are on the wire."""

from __future__ import annotations

import json
from typing import Any


def stream_of(body: bytes) -> list[Any]:
    """The bodies of a stream's events; a stream that was complete ends with "[DONE]"."""
    lines = [line for line in body.decode().split("\n") if line and not line.startswith(":")]
    assert all(line.startswith("data: ") for line in lines)
    return [line[6:] if line == "data: [DONE]" else json.loads(line[6:]) for line in lines]
