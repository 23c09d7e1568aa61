"""Makes the README's picture of the cell: ``python -m tests.notebook.picture``.

A real kernel runs the cell with the demo model and a stand-in for cloudflared, headless Chromium draws its output the
way a notebook does, on a light and on a dark page. With ``--states FOLDER`` the cards of ``sample`` are drawn there
as well, to be looked at. Knows nothing of how a card is made.
"""

from __future__ import annotations

import argparse
import html
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from playwright.sync_api import Page

from api_host.notebook.addresses import addresses_html
from api_host.notebook.figures import figures_html
from api_host.notebook.reveal import token_html
from tests.fakes.cloudflared import install
from tests.notebook import sample
from tests.notebook.running import html_of, notebook_of, run
from tests.page.browser import launched

ROOT = Path(__file__).parent.parent.parent
PICTURES = ROOT / "docs" / "pictures"
START = 'from api_host import ApiHost\n\nhost = ApiHost(model="demo")\nhost.start();'
ASK = """import time
client = host.client()
client.load("demo")
for country in ["France", "Spain", "Italy", "Japan"] * 12:
    client.chat(f"What is the capital of {country}?")
time.sleep(1.2)"""
THEMES = {
    "light": ("#fff", "#1a1a1a", "#f5f5f5", "#d9d9d9", "#1565c0"),
    "dark": ("#111", "#dcdcdc", "#1d1d1d", "#3a3a3a", "#82b1ff"),
}
PAGE = """<!doctype html><html><body style="margin:0;padding:18px;width:870px;background:{background};color:{ink};
font:14px/1.4 system-ui,-apple-system,'Segoe UI','DejaVu Sans',sans-serif">
<style>a {{ color: {link} }} code, pre {{ font-family: 'DejaVu Sans Mono', monospace }}</style>
<div style="display:flex;gap:10px"><code style="opacity:.6;padding-top:9px">[1]:</code>
<pre style="flex:1;margin:0 0 6px;padding:8px 10px;background:{field};border:1px solid {line}">{source}</pre></div>
<div style="margin-left:44px">{output}</div></body></html>"""


def cell_page(source: str, outputs: Iterable[str], theme: str) -> str:
    """A page with one cell and its output."""
    background, ink, field, line, link = THEMES[theme]
    output = "".join(f"<div>{part}</div>" for part in outputs)
    return PAGE.format(
        background=background,
        ink=ink,
        field=field,
        line=line,
        link=link,
        source=html.escape(source),
        output=output,
    )


def real_outputs() -> list[str]:
    """What the cell of ``START`` shows after some requests."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ.update(API_HOST_CLOUDFLARED=str(install(Path(folder))), API_HOST_TUNNEL_PROBE="0")
        notebook = notebook_of([START, ASK])
        run(notebook, Path(folder))
        return html_of(notebook.cells[0])


def draw(page: Page, content: str, path: Path) -> None:
    """A picture of the whole of a page."""
    page.set_content(content)
    page.locator("body").screenshot(path=str(path))


def draw_states(page: Page, folder: Path) -> None:
    """A picture of each state in each theme."""
    cards = {
        name: [addresses_html(facts.addresses, True, facts.default_model), figures_html(facts)]
        for name, facts in sample.STATES.items()
    }
    cards["token"] = [token_html(str(sample.ADDRESSES.public), "q4Zk-2mXn0_Jw8Rb1TtLs5Vd", 60)]
    cards["open"] = [cards["serving"][0].replace("<details", "<details open")]
    for theme in THEMES:
        for name, outputs in cards.items():
            draw(page, cell_page(START, outputs, theme), folder / f"{name}_{theme}.png")


def main() -> None:
    """Draws the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--states", type=Path, metavar="FOLDER", help="draw the sample's states there, too")
    states: Path | None = parser.parse_args().states
    outputs = real_outputs()
    with launched() as browser:
        page = browser.new_page(viewport={"width": 906, "height": 600}, device_scale_factor=2)
        PICTURES.mkdir(exist_ok=True)
        for theme, name in (("light", "cell.png"), ("dark", "cell_dark.png")):
            draw(page, cell_page(START, outputs, theme), PICTURES / name)
        if states is not None:
            states.mkdir(parents=True, exist_ok=True)
            draw_states(page, states)


if __name__ == "__main__":
    main()
