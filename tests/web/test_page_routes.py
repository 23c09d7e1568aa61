"""The chat page's files: what a browser gets, under which policy, and that nothing comes from elsewhere."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
import requests

from api_host.web.page_routes import FOLDER
from tests.fakes.pipeline import FakePipeline
from tests.web.site import TOKEN, Site

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
VENDOR = FOLDER / "vendor"
ROOT = FOLDER.parent.parent.parent
MAX_LINES = 300
NAMES = sorted(path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*") if path.is_file())
OURS = [name for name in NAMES if not name.startswith("vendor/")]
MEDIA = {
    "index.html": "text/html; charset=utf-8",
    "page/page.css": "text/css; charset=utf-8",
    "page/js/main.js": "text/javascript; charset=utf-8",
    "page/vendor/marked.esm.js": "text/javascript; charset=utf-8",
    "page/vendor/marked.LICENSE": "text/plain; charset=utf-8",
    "page/vendor/VERSIONS": "text/plain; charset=utf-8",
    "page/icon.svg": "image/svg+xml; charset=utf-8",
}


def get(site: Site, path: str = "", **headers: str) -> requests.Response:
    """An answer to a browser that has no token."""
    return requests.get(f"{site.url}/{path}", headers=BROWSER | headers, timeout=10)


class Addresses(HTMLParser):
    """What an HTML file points to, and what it would run or style in place."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, str, str]] = []
        self.in_place: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("src", "href", "action", "srcset", "data"):
                self.found.append((tag, name, value or ""))
            if name == "style" or name.startswith("on"):
                self.in_place.append(f"<{tag} {name}>")
        if tag == "style" or (tag == "script" and "src" not in dict(attrs)):
            self.in_place.append(f"<{tag}>")


def test_a_browser_gets_the_page_and_anything_else_a_list(site: Site) -> None:
    page = get(site)
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "<title>API Host</title>" in page.text
    for accept in ("*/*", "text/plain", "application/json"):
        listing = get(site, Accept=accept)
        assert listing.headers["Content-Type"].startswith("text/plain")
        for path in ("/api", "/api/models", "/api/models/load", "/api/models/unload", "/health", "/metrics"):
            assert f"{path} " in listing.text
        assert listing.headers["Vary"] == page.headers["Vary"] == "Accept"


@pytest.mark.parametrize("path", ["", "page/js/main.js", "page/page.css", "page/vendor/purify.min.js"])
def test_the_page_and_its_files_come_under_a_policy_that_lets_nothing_else_in(site: Site, path: str) -> None:
    headers = get(site, path).headers
    policy = dict(part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";"))
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "connect-src": "'self'",
        "img-src": "'self'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        "base-uri": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "dompurify",
    }
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"


@pytest.mark.parametrize(("path", "media"), MEDIA.items())
def test_each_file_says_what_it_is(site: Site, path: str, media: str) -> None:
    answer = get(site, "" if path == "index.html" else path)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, media)


@pytest.mark.parametrize("path", ["", "page/js/main.js"])
def test_what_has_not_changed_is_not_sent_again(site: Site, path: str) -> None:
    first = get(site, path)
    assert first.headers["Cache-Control"] == "no-cache"
    again = get(site, path, **{"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]
    changed = get(site, path, **{"If-None-Match": '"of-another-version"'})
    assert (changed.status_code, changed.content) == (200, first.content)


def test_every_file_is_served_without_a_token_as_it_lies_there(site: Site) -> None:
    for name in NAMES:
        if name != "index.html":
            answer = get(site, f"page/{name}")
            assert (answer.status_code, answer.content) == (200, (FOLDER / name).read_bytes()), name


@pytest.mark.parametrize(
    "path",
    [
        "page/",
        "page/nothing.js",
        "page/js",
        "page/index.html",
        "page/../page_routes.py",
        "page/%2e%2e/page_routes.py",
    ],
)
def test_nothing_else_is_served(site: Site, path: str) -> None:
    request = requests.Request("GET", site.url, headers=BROWSER).prepare()
    request.url = f"{site.url}/{path}"
    with requests.Session() as session:
        answer = session.send(request, timeout=10)
    assert answer.status_code == 404
    assert answer.json()["code"] == "not_found"


@pytest.mark.parametrize("path", ["api/models", "openapi.json", "metrics"])
def test_data_needs_the_token_all_the_same(site: Site, path: str) -> None:
    assert get(site, path).status_code == 403


def test_the_page_knows_whether_the_host_asks_for_a_token(site: Site) -> None:
    assert 'data-token="asked"' in get(site).text
    open_site = Site(FakePipeline(), token=None)
    try:
        page = get(open_site)
    finally:
        open_site.close()
    assert 'data-token="none"' in page.text
    assert page.headers["ETag"] != get(site).headers["ETag"]


def test_the_page_never_contains_the_token(site: Site) -> None:
    assert TOKEN not in get(site, Authorization=f"Bearer {TOKEN}").text


def test_the_page_points_to_its_own_files_only_and_runs_nothing_in_place() -> None:
    page = Addresses((FOLDER / "index.html").read_text())
    assert page.in_place == []
    loaded = [
        value for tag, name, value in page.found if (tag, name) != ("a", "href") and not value.startswith("#")
    ]
    assert len(loaded) > 3
    for value in loaded:
        assert (FOLDER.parent / value).is_file(), value
    links = {value for tag, _, value in page.found if tag == "a"}
    assert links == {"docs", "#message"}


@pytest.mark.parametrize("name", [name for name in OURS if name != "icon.svg"])
def test_no_file_of_ours_names_an_outside_address(name: str) -> None:
    text = (FOLDER / name).read_text()
    assert re.findall(r"""["'(](?:https?:)?//[\w.-]+""", text) == []
    assert "@import" not in text


def imports_of(name: str) -> Iterator[str]:
    """The modules that a script imports, as paths below the page's folder."""
    folder = (FOLDER / name).parent
    for target in re.findall(r"""(?:from|import)\s*\(?\s*["'](\.[^"']+)["']""", (FOLDER / name).read_text()):
        yield (folder / target).resolve().relative_to(FOLDER).as_posix()


def test_every_script_that_is_imported_is_there_and_every_one_there_is_used() -> None:
    scripts = {name for name in NAMES if name.endswith(".js")}
    ours = sorted(name for name in scripts if name in OURS)
    imported = {target for name in ours for target in imports_of(name)}
    assert imported - scripts == set()
    named = {
        value.removeprefix("page/") for _, _, value in Addresses((FOLDER / "index.html").read_text()).found
    }
    assert scripts - imported - named == set()


@pytest.mark.parametrize("name", OURS)
def test_no_file_of_ours_is_longer_than_300_lines_or_makes_markup_by_itself(name: str) -> None:
    text = (FOLDER / name).read_text()
    assert len(text.splitlines()) <= MAX_LINES
    for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function("):
        assert way not in text


def test_vendored_files_are_what_the_registry_has_and_bring_their_licences() -> None:
    told = [
        line.split() for line in (VENDOR / "VERSIONS").read_text().splitlines() if not line.startswith("#")
    ]
    assert {name for name, *_ in told} == {path.name for path in VENDOR.glob("*.js")}
    for name, package, version, sha256 in told:
        content = (VENDOR / name).read_bytes()
        assert hashlib.sha256(content).hexdigest() == sha256, f"{name} is not the one of {package} {version}"
        assert version.encode() in content[:200]
        licence = package.split("/")[0].removeprefix("@").removesuffix("js")
        assert len((VENDOR / f"{licence}.LICENSE").read_text()) > 1000


def test_the_files_are_inside_the_package_so_that_the_wheel_has_them() -> None:
    settings = (ROOT / "pyproject.toml").read_text()
    assert 'packages = ["api_host"]' in settings
    ignored = (ROOT / ".gitignore").read_text().split()
    for name in NAMES:
        parts = (FOLDER / name).relative_to(ROOT).parts
        assert not {f"{part}/" for part in parts} & set(ignored), (
            f"{name} is ignored, and left out of the wheel"
        )
        assert Path(*parts).parts[0] == "api_host"
