"""The pieces of HTML that the card is made of. Every text that comes in is escaped here.

No script and no style sheet: a notebook may show neither. Colours are the notebook's own, and greys that let its
background through, so that light and dark themes both fit.
"""

from __future__ import annotations

import html
from collections.abc import Iterable

_BOX = (
    "border:1px solid #8886;border-radius:8px;padding:12px 16px;margin:3px 0;max-width:760px;line-height:1.5"
)
_GRID = "display:grid;grid-template-columns:8em minmax(0,1fr);gap:3px 12px;overflow-wrap:anywhere"
_BAR = "height:6px;border-radius:3px;background:#8884;max-width:320px;margin:3px 0 5px;overflow:hidden"
_FILL = "#4a90d9"
_STRIPES = f"repeating-linear-gradient(135deg,{_FILL} 0 8px,#8886 8px 16px)"
_CODE = "background:#8882;border-radius:4px;padding:8px 10px;margin:6px 0;overflow-x:auto;font-size:12px"


def box(*parts: str) -> str:
    """A card around finished parts."""
    return f'<div style="{_BOX}">{"".join(parts)}</div>'


def grid(rows: Iterable[tuple[str, str]]) -> str:
    """Names in text, and beside each its value in finished HTML."""
    cells = "".join(f"{faint(name)}<div>{value}</div>" for name, value in rows)
    return f'<div style="{_GRID}">{cells}</div>'


def text(words: str) -> str:
    """A plain text."""
    return html.escape(words)


def faint(words: str) -> str:
    """A text of less weight."""
    return f'<div style="opacity:.7">{html.escape(words)}</div>'


def strong(words: str) -> str:
    """A text of more weight."""
    return f"<b>{html.escape(words)}</b>"


def code(words: str) -> str:
    """A few words of code inside a line."""
    return f"<code>{html.escape(words)}</code>"


def link(url: str, words: str | None = None) -> str:
    """A link that opens elsewhere; only to addresses of the web, anything else stays text."""
    shown = html.escape(words or url)
    if not url.startswith(("https://", "http://")):
        return shown
    return f'<a href="{html.escape(url)}" target="_blank" rel="noopener noreferrer">{shown}</a>'


def bar(share: float | None) -> str:
    """A bar, filled to ``share`` from 0 to 1; striped when nobody knows how far it is."""
    width, fill = (100.0, _STRIPES) if share is None else (100 * min(1.0, max(0.0, share)), _FILL)
    return f'<div style="{_BAR}"><div style="width:{width:.0f}%;height:100%;background:{fill}"></div></div>'


def details(summary: str, *parts: str) -> str:
    """Finished parts that show when somebody asks for them."""
    head = f'<summary style="cursor:pointer">{html.escape(summary)}</summary>'
    return f'<details style="margin-top:8px">{head}{"".join(parts)}</details>'


def listing(lines: str) -> str:
    """Lines of code."""
    return f'<pre style="{_CODE}">{html.escape(lines)}</pre>'


def beside(left: str, right: str) -> str:
    """Two finished parts, the right one as wide as it is; below each other where there is no room."""
    row = "display:flex;flex-wrap:wrap;gap:12px 20px;align-items:flex-start"
    return f'<div style="{row}"><div style="flex:1 1 380px;min-width:0">{left}</div>{right}</div>'
