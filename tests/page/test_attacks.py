"""What a model writes can run nothing, load nothing, and change nothing but the place where it stands."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Error, Page, expect

import api_host.web
from tests.page.attacks import ATTACKS, attack, in_odd_pieces
from tests.page.browser import a_context
from tests.page.chat import Chat
from tests.page.scripted import ScriptedSite
from tests.page.trap import Trap
from tests.page.watch import Watch

MARKED = Path(api_host.web.__file__).with_name("page") / "vendor" / "marked.esm.js"
# Pauses long enough for the page to draw what came, so that half a tag is seen too.
PAUSE_S = 0.004

# What the policy calls the loads that _INSERT tries.
STOPPED = {"img-src", "style-src-elem", "style-src-attr", "frame-src", "form-action", "connect-src"}
# All that is not a turn: each element with its attributes and, for the fixed parts, its place on the screen.
_OUTSIDE = """
() => [...document.querySelectorAll("*")]
  .filter((element) => !element.closest("article, #toast, [role=status]"))
  .map((element) => {
    const attributes = element.getAttributeNames().filter((name) => !["style", "title"].includes(name));
    const fixed = element.matches("header *, nav, nav *, form, form *");
    const box = element.getBoundingClientRect();
    const place = fixed ? [box.x, box.y, box.width].map(Math.round).join(" ") : "";
    return `${element.tagName} ${attributes.map((name) => `${name}=${element.getAttribute(name)}`).join(" ")} ${place}`;
  })
"""
# What must not be in an answer, whatever it looks like. Asks prototypes: a form's fields can stand in for its methods.
_FORBIDDEN = """
(article) => {
  const { closest, getAttribute, getAttributeNames } = Element.prototype;
  const found = [];
  for (const element of Element.prototype.querySelectorAll.call(article, "*")) {
    if (closest.call(element, "button")) continue;
    const name = element.localName;
    if (/^(script|style|link|meta|base|i?frame|object|embed|form|input|textarea|select|img|image|picture)$/.test(name))
      found.push(name);
    if (/^(source|video|audio|svg|math|template|dialog|portal|foreignobject|slot|title)$/.test(name)) found.push(name);
    for (const key of getAttributeNames.call(element)) {
      const value = getAttribute.call(element, key);
      if (/^on|^(style|src|srcset|srcdoc|action|formaction|ping|background|poster)$/.test(key)) found.push(key);
      if (/^(autofocus|popover|is|slot)$/.test(key)) found.push(key);
      if (/^(id|name)$/.test(key) && !value.startsWith("user-content-")) found.push(`${name} ${key}=${value}`);
    }
    if (name === "a" && element.href && !["http:", "https:", "mailto:"].includes(element.protocol))
      found.push(`${name} href=${element.href}`);
    if (name === "a" && element.href && !/noopener/.test(element.rel)) found.push("a link that keeps its opener");
  }
  return found;
}
"""
# What a person might do to it: point at it, click, focus.
_TOUCH = """
(article) => {
  for (const element of article.querySelectorAll("*")) {
    if (element.closest("button") || ["http:", "https:", "mailto:"].includes(element.protocol)) continue;
    for (const kind of ["pointerenter", "mouseover", "focus", "load", "error", "toggle", "animationend", "click"])
      element.dispatchEvent(new MouseEvent(kind, { bubbles: kind !== "focus", cancelable: true }));
  }
}
"""
# A page that shows what a model writes as it comes, each output in a frame of its own.
_TRUST = """
async ([texts, marked]) => {
  const { parse } = await import(`data:text/javascript;base64,${marked}`);
  for (const [name, text] of Object.entries(texts)) {
    const frame = document.createElement("iframe");
    frame.name = name;
    frame.srcdoc = `<!doctype html><body>${parse(text)}`;
    document.body.append(frame);
  }
}
"""
# Elements that script has made, so that Trusted Types have no say; where they take strings for code, those are refused.
_INSERT = """
(trap) => {
  const add = (tag, attributes) => {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    document.querySelector("#toast").append(made);
  };
  add("img", { src: `${trap}/x.png` });
  add("link", { rel: "stylesheet", href: `${trap}/x.css` });
  add("iframe", { src: `${trap}/frame` });
  add("b", { style: "background: red" });
  add("style", {});
  document.querySelector("#toast style").textContent = "body { color: red }";
  add("form", { action: trap, method: "post" });
  document.querySelector("#toast form").submit();
  fetch(trap).catch(() => null);
}
"""
_MANNERS = """
() => [location.href, document.title, document.body.nodeName, typeof document.getElementById, typeof document.cookie,
  typeof fetch, typeof localStorage.getItem, document.baseURI, document.documentElement.dir, document.dir,
  `fits ${document.documentElement.scrollWidth <= innerWidth && document.documentElement.scrollHeight <= innerHeight}`]
"""


@pytest.fixture(scope="module")
def context(browser: Browser) -> Iterator[BrowserContext]:
    """One for all attacks: none may leave anything behind, so none needs a clean one."""
    with a_context(browser) as context:
        yield context


@pytest.fixture(scope="module")
def listener(context: BrowserContext) -> Watch:
    return Watch(context)


@pytest.fixture(autouse=True)
def watch(listener: Watch) -> Iterator[Watch]:
    yield listener
    faults = listener.faults()
    listener.forget()
    assert faults == []


@pytest.fixture(scope="module")
def trap() -> Iterator[Trap]:
    trap = Trap()
    yield trap
    trap.close()


@pytest.fixture(scope="module")
def scripted(context: BrowserContext, listener: Watch, shared_site: ScriptedSite) -> Chat:
    listener.at_home(shared_site.url)
    return Chat(context.new_page(), shared_site.url, shared_site.token).open()


def surroundings(page: Page) -> list[str]:
    """Everything but the turns, one line each; the name of the open conversation differs each time."""
    lines = page.evaluate(_OUTSIDE) + page.evaluate(_MANNERS)
    return [re.sub(r"#c=\w+", "#c=", line) for line in lines]


@pytest.fixture(scope="module")
def harmless(scripted: Chat, shared_site: ScriptedSite) -> list[str]:
    """The page around a harmless answer."""
    shared_site.reset()
    scripted.ask("What do you say?")
    return surroundings(scripted.page)


def begin_afresh(chat: Chat) -> None:
    chat.page.evaluate("localStorage.clear()")
    chat.start_conversation()


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_runs_nothing_loads_nothing_and_stays_where_it_is(
    scripted: Chat, site: ScriptedSite, trap: Trap, watch: Watch, harmless: list[str], name: str
) -> None:
    begin_afresh(scripted)
    site.says(*in_odd_pieces(attack(name, trap.url)), pause=PAUSE_S)
    answer = scripted.ask("What do you say?")
    assert answer.evaluate(_FORBIDDEN) == []
    answer.evaluate(_TOUCH)
    assert surroundings(scripted.page) == harmless
    scripted.start_conversation()
    scripted.conversations.get_by_role("listitem").get_by_role("link").click()  # now it is drawn at once
    scripted.answers.wait_for()
    assert scripted.answers.last.evaluate(_FORBIDDEN) == []
    assert watch.faults() == []
    assert trap.visits == []
    assert len(watch.pages) == 1


def test_the_attacks_bite_where_nobody_guards(browser: Browser, site: ScriptedSite) -> None:
    """Without this, a set of attacks that cannot harm anybody would pass every test above."""
    context, trap = browser.new_context(), Trap()
    bitten: set[str] = set()
    context.expose_binding("canary", lambda source, *words: bitten.add(source["frame"].name))
    page = context.new_page()
    page.goto(f"{site.url}/health")  # a document without a policy
    texts = {name: attack(name, f"{trap.url}/{i}") for i, name in enumerate(ATTACKS)}
    page.evaluate(_TRUST, [texts, base64.b64encode(MARKED.read_bytes()).decode()])
    deadline = time.monotonic() + 20
    while len(bitten) < 30 and time.monotonic() < deadline:
        page.wait_for_timeout(50)
        visited = [visit.removeprefix("GET /").partition("/")[0] for visit in list(trap.visits)]
        bitten |= {name for i, name in enumerate(ATTACKS) if str(i) in visited}
    forbidden = page.evaluate(
        "(check) => [...document.querySelectorAll('iframe')].filter((one) => one.contentDocument === null ||"
        " eval(check)(one.contentDocument.body).length).map((one) => one.name)",
        _FORBIDDEN,
    )
    context.close()
    trap.close()
    assert len(bitten) >= 30, sorted(set(ATTACKS) - bitten)
    assert len(bitten | set(forbidden)) >= 50, sorted(set(ATTACKS) - bitten - set(forbidden))


def test_a_question_is_shown_as_it_was_typed(scripted: Chat, trap: Trap) -> None:
    text = attack("image error", trap.url)
    scripted.ask(text)
    expect(scripted.questions.last).to_contain_text(text)
    assert scripted.questions.last.evaluate(_FORBIDDEN) == []
    assert trap.visits == []


def test_the_policy_would_stop_what_a_gap_let_through(scripted: Chat, watch: Watch, trap: Trap) -> None:
    """The second wall: markup as text is refused, and elements from elsewhere run and load nothing."""
    page, started = scripted.page, time.monotonic()
    for text in (
        "main.innerHTML = text",
        "main.insertAdjacentHTML('beforeend', text)",
        "document.write(text)",
    ):
        with pytest.raises(Error, match="TrustedHTML"):
            page.evaluate(f"(text) => {{ const main = document.querySelector('main'); {text}; }}", "<b>x</b>")
    with pytest.raises(Error, match="TrustedScript"):
        page.evaluate("(trap) => { document.createElement('script').src = trap; }", trap.url)
    page.evaluate(_INSERT, trap.url)
    stopped: set[str] = set()
    while not stopped >= STOPPED and time.monotonic() < started + 20:
        page.wait_for_timeout(20)
        stopped = {line.split()[0] for line in watch.violations}
    assert stopped >= STOPPED
    assert trap.visits == []
    assert watch.calls == []
    watch.forget()
    page.evaluate("document.querySelector('#toast').replaceChildren()")
