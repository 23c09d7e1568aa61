"""Text from elsewhere (a model, a host, a hub) made harmless for a terminal. Knows nothing else.

A terminal obeys escape sequences: they can move the cursor, rewrite what stands above, set the clipboard.
"""

from __future__ import annotations

import re

# C0 without tab and line feed, DEL, C1, and the marks that turn the direction of writing round.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """The text without control characters; tabs and line feeds stay."""
    return _CONTROLS.sub("", text.replace("\r\n", "\n"))
