"""The card in a real browser: on light and dark pages, wide and narrow; and where the link that signs in leads."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("playwright", reason="no Playwright; pip install playwright")

from api_host.host import ApiHost
from api_host.notebook.addresses import addresses_html
from api_host.notebook.figures import figures_html
from api_host.notebook.reveal import sign_in_link
from tests.notebook import sample
from tests.notebook.picture import START, THEMES, cell_page, draw_states
from tests.page.browser import chromium, launched

pytestmark = pytest.mark.skipif(
    chromium() is None, reason="no Chromium to show the card in; on Debian and Ubuntu: apt install chromium"
)
CONTRAST = """node => {
    const rgb = text => text.match(/[\\d.]+/g).slice(0, 3).map(Number);
    const light = text => { const [r, g, b] = rgb(text); return (0.299 * r + 0.587 * g + 0.114 * b) / 255; };
    return Math.abs(light(getComputedStyle(node).color) - light(getComputedStyle(document.body).backgroundColor));
}"""


@pytest.mark.parametrize("width", [906, 430])
def test_the_card_fits_its_page_loads_nothing_and_can_be_read(width: int) -> None:
    with launched() as browser:
        page = browser.new_page(viewport={"width": width, "height": 600})
        asked: list[str] = []
        said: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: said.append(message.text))
        for facts in sample.STATES.values():
            for theme in THEMES:
                outputs = [addresses_html(facts.addresses, True, facts.default_model), figures_html(facts)]
                content = cell_page(START, outputs, theme).replace("width:870px", "")
                page.set_content(content)
                if facts.addresses.local is not None:
                    page.locator("summary").click()
                sizes = page.evaluate("[document.body.scrollWidth, document.documentElement.clientWidth]")
                assert sizes[0] <= sizes[1], "nothing is wider than the page"
                for node in page.locator("div b, div a, summary").all():
                    assert node.evaluate(CONTRAST) > 0.4
        assert (asked, said) == ([], [])


def test_each_state_can_be_drawn(tmp_path: Path) -> None:
    with launched() as browser:
        draw_states(browser.new_page(viewport={"width": 906, "height": 600}), tmp_path)
    assert len(list(tmp_path.glob("*.png"))) == 2 * (len(sample.STATES) + 2)


def test_the_link_that_signs_in_leads_past_the_question_for_the_token(demo_host: ApiHost) -> None:
    token = str(demo_host.access_token)
    asked: list[str] = []
    with launched() as browser:
        page = browser.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.goto(sign_in_link(demo_host.local_url, token))
        with page.expect_response(lambda answer: answer.url.endswith("/api/models")) as models:
            page.reload()
        assert models.value.status == 200
        assert token not in page.url
    assert all(token not in url.partition("#")[0] for url in asked)
