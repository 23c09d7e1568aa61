"""A QR code as a piece of HTML: an address, to be opened with a telephone's camera.

Knows nothing of what the address is. The modules are dark on white with a quiet zone, whatever the notebook's theme:
many readers see no code that is light on dark.
"""

from __future__ import annotations

import html

import segno

_QUIET_ZONE = 4
_SCALE = 3


def qr_code(url: str, label: str) -> str:
    """An inline SVG, three pixels a module; ``label`` says in words what it holds."""
    code = segno.make_qr(url, error="m")
    drawn = code.svg_inline(scale=_SCALE, border=_QUIET_ZONE, dark="#000", light="#fff", omitsize=False)
    return f'<div role="img" aria-label="{html.escape(label)}" style="line-height:0">{drawn}</div>'
