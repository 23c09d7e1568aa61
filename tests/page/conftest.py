"""The fixtures of the page's tests: one browser, a clean context for each test, a real host and a scripted one.

Every test fails that leaves an error on the console, asks another origin for anything, or runs into the page's content
security policy. Pictures go to the folder that PAGE_PICTURES names, else to the test's own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.fakes.pipeline import FakePipeline
from tests.page.browser import a_context, chromium, launched
from tests.page.chat import Chat
from tests.page.scripted import ScriptedSite
from tests.page.served import ServedHost
from tests.page.trap import Trap
from tests.page.watch import Watch

expect.set_options(timeout=20_000)


# Of the package, not of the session: while Playwright runs, this thread has an event loop, which other tests must not
# meet.
@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    if chromium() is None:
        pytest.skip("no Chromium to show the page in; on Debian and Ubuntu: apt install chromium")
    with launched() as browser:
        yield browser


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    with a_context(browser) as context:
        yield context


@pytest.fixture(autouse=True)
def watch(context: BrowserContext) -> Iterator[Watch]:
    watch = Watch(context)
    yield watch
    assert watch.faults() == []


@pytest.fixture
def page(context: BrowserContext, watch: Watch) -> Page:
    return context.new_page()


@pytest.fixture(scope="package")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedHost]:
    host = ServedHost(tmp_path_factory.mktemp("served"))
    yield host
    host.stop()


@pytest.fixture
def chat(page: Page, watch: Watch, served: ServedHost) -> Chat:
    """The page of the real host, signed in."""
    watch.at_home(served.url)
    return Chat(page, served.url, served.token).open()


@pytest.fixture(scope="package")
def shared_site() -> Iterator[ScriptedSite]:
    site = ScriptedSite()
    yield site
    site.close()


@pytest.fixture
def site(shared_site: ScriptedSite) -> ScriptedSite:
    shared_site.reset()
    return shared_site


@pytest.fixture
def pipeline(site: ScriptedSite) -> FakePipeline:
    return site.pipeline


@pytest.fixture
def scripted(page: Page, watch: Watch, site: ScriptedSite) -> Chat:
    """The page of the scripted host, signed in."""
    watch.at_home(site.url)
    return Chat(page, site.url, site.token).open()


@pytest.fixture
def trap() -> Iterator[Trap]:
    trap = Trap()
    yield trap
    trap.close()


@pytest.fixture
def picture(page: Page, tmp_path: Path, request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Takes a picture of the page as it is now, under a name."""
    folder = Path(os.environ.get("PAGE_PICTURES", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)

    def take(name: str) -> None:
        page.screenshot(path=folder / f"{name}.png")

    return take
