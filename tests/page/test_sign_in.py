"""How the page comes to know the token: from the link's fragment, or by asking; and who never gets to see it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.fakes.pipeline import FakePipeline
from tests.page.chat import Chat
from tests.page.scripted import ScriptedSite
from tests.page.watch import Watch
from tests.web.site import Site


@pytest.fixture
def visitor(page: Page, watch: Watch, site: ScriptedSite) -> Chat:
    """Somebody who has the URL and has not signed in."""
    watch.at_home(site.url)
    page.goto(site.url)
    return Chat(page, site.url, site.token)


@pytest.fixture
def open_site() -> Iterator[Site]:
    site = Site(FakePipeline(), token=None)
    yield site
    site.close()


def sign_in(visitor: Chat, token: str) -> None:
    visitor.page.get_by_role("textbox", name="Access token").fill(token)
    visitor.button("Sign in").click()


def test_the_link_signs_in_and_its_token_is_gone_from_the_address_bar(
    scripted: Chat, picture: Callable[[str], None]
) -> None:
    assert scripted.page.url == f"{scripted.url}/"
    assert scripted.page.evaluate("history.length") <= 2
    expect(scripted.page.get_by_role("textbox", name="Access token")).to_be_hidden()
    assert "Hello there" in scripted.ask("Hi").inner_text()
    picture("signed-in")


def test_the_token_is_in_no_address_that_the_server_or_the_browser_saw(
    scripted: Chat, site: ScriptedSite, watch: Watch
) -> None:
    scripted.ask("Hi")
    scripted.page.reload()
    scripted.ask("Hi again")
    assert [address for _, address, _ in site.seen if site.token in address] == []
    assert [url for url in watch.urls if site.token in url and "#" not in url] == []
    carriers = {name for _, _, headers in site.seen for name, value in headers.items() if site.token in value}
    assert carriers <= {"AUTHORIZATION", "COOKIE", "SEC_WEBSOCKET_PROTOCOL"}
    pages = [headers for method, address, headers in site.seen if (method, address) == ("GET", "/")]
    assert pages
    assert all("AUTHORIZATION" not in headers for headers in pages)


def test_a_reload_of_the_tab_stays_signed_in(scripted: Chat) -> None:
    scripted.page.reload()
    expect(scripted.message).to_be_visible()
    assert "Hello there" in scripted.ask("Hi").inner_text()


def test_another_tab_is_asked_for_the_token(scripted: Chat, context: BrowserContext) -> None:
    other = context.new_page()
    other.goto(scripted.url)
    expect(other.get_by_role("textbox", name="Access token")).to_be_visible()
    expect(other.get_by_role("textbox", name="Message", exact=True)).to_be_hidden()


def test_the_form_signs_in(visitor: Chat, site: ScriptedSite, picture: Callable[[str], None]) -> None:
    expect(visitor.message).to_be_hidden()
    picture("sign-in")
    sign_in(visitor, site.token)
    expect(visitor.message).to_be_visible()
    assert "Hello there" in visitor.ask("Hi").inner_text()
    assert [address for _, address, _ in site.seen if site.token in address] == []


def test_spaces_around_a_pasted_token_do_not_matter(visitor: Chat, site: ScriptedSite) -> None:
    sign_in(visitor, f"  {site.token}\n")
    expect(visitor.message).to_be_visible()


def test_a_wrong_token_is_told_and_can_be_corrected(
    visitor: Chat, site: ScriptedSite, watch: Watch, picture: Callable[[str], None]
) -> None:
    watch.expect_message("status of 403")
    sign_in(visitor, "not-the-token")
    expect(visitor.alert).to_contain_text("token")
    expect(visitor.message).to_be_hidden()
    picture("wrong-token")
    sign_in(visitor, site.token)
    expect(visitor.message).to_be_visible()


def test_a_token_with_letters_that_no_header_can_carry_is_a_wrong_one(visitor: Chat, watch: Watch) -> None:
    watch.expect_message("status of 403")
    sign_in(visitor, "tökèn ☃")
    expect(visitor.alert).to_contain_text("token")


def test_a_wrong_token_in_the_link_asks_for_the_right_one(
    page: Page, watch: Watch, site: ScriptedSite
) -> None:
    watch.at_home(site.url)
    watch.expect_message("status of 403")
    page.goto(f"{site.url}/#token=of-yesterday")
    expect(page.get_by_role("textbox", name="Access token")).to_be_visible()
    assert "of-yesterday" not in page.url


def test_signs_that_no_token_has_do_not_matter_in_a_link(
    page: Page, watch: Watch, site: ScriptedSite
) -> None:
    watch.at_home(site.url)
    page.goto(f"{site.url}/#token=%E2%80%9C{site.token}%E2%80%9D%0A")
    expect(page.get_by_role("textbox", name="Message", exact=True)).to_be_visible()


def test_a_link_opened_in_the_tab_that_is_open_already_signs_in(visitor: Chat, site: ScriptedSite) -> None:
    visitor.page.goto(f"{site.url}/#token={site.token}")
    expect(visitor.message).to_be_visible()
    assert visitor.page.url == f"{site.url}/"


def test_a_token_that_stops_being_right_is_asked_for_again(
    scripted: Chat, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch.expect_message("status of 40[13]")
    scripted.ask("Hi")
    scripted.page.evaluate(
        "() => { for (const key of Object.keys(sessionStorage)) {"
        " const value = sessionStorage[key]; sessionStorage[key] = value.replace('a-token-for-tests', 'old'); } }"
    )
    scripted.page.reload()
    expect(scripted.page.get_by_role("textbox", name="Access token")).to_be_visible()


def test_a_host_without_a_token_asks_for_none(page: Page, watch: Watch, open_site: Site) -> None:
    watch.at_home(open_site.url)
    page.goto(open_site.url)
    chat = Chat(page, open_site.url, "")
    expect(chat.message).to_be_visible()
    assert "Hello there" in chat.ask("Hi").inner_text()
