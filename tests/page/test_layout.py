"""How the page looks and is used: a phone's width, light and dark, by keyboard alone, by its names alone."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, ViewportSize, expect

from api_host.generation import Accepted, Chunk, Waiting
from tests.fakes.pipeline import FakePipeline
from tests.page.chat import Chat
from tests.page.contrast import faint, measured
from tests.page.scripted import ScriptedSite, lasting
from tests.page.test_chat import MARKDOWN
from tests.page.watch import Watch

PHONE: ViewportSize = {"width": 390, "height": 844}
DIALOGS = ["Settings", "Model", "Use from code"]
_NO_NAME = re.compile(r'^\s*- (button|textbox|link|combobox|checkbox|slider|spinbutton|tab|dialog)\b(?! ")')
_FOCUSED = """
() => {
  const at = document.activeElement;
  return at.ariaLabel || at.textContent.trim() || at.labels?.[0]?.textContent || "";
}
"""
# Whether what has the focus looks different from how it looks without.
_SHOWN = """
() => {
  const at = document.activeElement;
  if (at === document.body) return true;
  const look = () => [at, at.parentElement, at.parentElement.parentElement].map((one) => {
    const { outlineStyle, outlineWidth, boxShadow, borderColor } = getComputedStyle(one);
    return `${outlineStyle} ${outlineWidth} ${boxShadow} ${borderColor}`;
  }).join();
  const focused = look();
  at.blur();
  const other = look();
  at.focus();
  return focused !== other;
}
"""
_INSIDE = (
    "() => document.activeElement === document.body || document.activeElement.closest('dialog') !== null"
)


def too_wide(page: Page) -> list[str]:
    """What sticks out of the window sideways."""
    wide: list[str] = page.evaluate(
        "() => document.documentElement.scrollWidth <= innerWidth ? [] : [...document.querySelectorAll('body *')]"
        ".filter((one) => one.getBoundingClientRect().right > innerWidth + 1)"
        ".map((one) => `${one.tagName}.${one.className} ${Math.round(one.getBoundingClientRect().right)}`)"
    )
    return wide


def test_a_phone_shows_a_conversation_without_scrolling_sideways(
    scripted: Chat, site: ScriptedSite, picture: Callable[[str], None]
) -> None:
    scripted.page.set_viewport_size(PHONE)
    site.says(
        MARKDOWN + f"\n\n```\n{'long line ' * 40}\n```\n\n{'w' * 300}\n\n| {'a | ' * 30}\n{'|--' * 30}|\n"
    )
    scripted.ask("How do I sort? " + "x" * 200)
    assert too_wide(scripted.page) == []
    box = scripted.message.bounding_box()
    assert box is not None
    assert box["y"] + box["height"] <= PHONE["height"]
    assert box["width"] > 200
    picture("phone")


def test_on_a_phone_the_conversations_are_behind_a_button(
    scripted: Chat, picture: Callable[[str], None]
) -> None:
    scripted.page.set_viewport_size(PHONE)
    scripted.ask("Tell me about cats")
    expect(scripted.conversations).to_be_hidden()
    scripted.button("Show conversations").click()
    expect(scripted.conversations).to_be_visible()
    assert too_wide(scripted.page) == []
    picture("phone-conversations")


def test_the_dialogs_fit_a_phone(scripted: Chat, picture: Callable[[str], None]) -> None:
    scripted.page.set_viewport_size(PHONE)
    for name in DIALOGS:
        box = scripted.open_dialog(name).bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= PHONE["width"]
        assert too_wide(scripted.page) == []
        picture(f"phone-{name.lower().replace(' ', '-')}")
        scripted.close_dialog()


def test_a_phone_that_is_turned_with_its_conversations_open_shows_them_beside_the_chat(
    scripted: Chat,
) -> None:
    scripted.page.set_viewport_size(PHONE)
    scripted.button("Show conversations").click()
    scripted.page.set_viewport_size({"width": PHONE["height"], "height": PHONE["width"]})
    list_, message = scripted.conversations.bounding_box(), scripted.message.bounding_box()
    assert list_ is not None and message is not None
    assert list_["height"] == PHONE["width"]
    assert message["x"] > list_["width"] and message["width"] > 300


def test_the_narrowest_screen_shows_every_language_to_be_called_from(scripted: Chat) -> None:
    scripted.page.set_viewport_size({"width": 320, "height": 568})
    for tab in scripted.open_dialog("Use from code").get_by_role("tab").all():
        box = tab.bounding_box()
        assert box is not None
        assert box["x"] + box["width"] <= 320


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_light_and_dark(
    scripted: Chat, site: ScriptedSite, scheme: str, picture: Callable[[str], None]
) -> None:
    scripted.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    site.says(MARKDOWN)
    scripted.ask("How do I sort?")
    scripted.answers.last.hover()
    assert len(measured(scripted.page)) > 20
    assert faint(scripted.page) == []
    picture(f"chat-{scheme}")
    for name in DIALOGS:
        scripted.open_dialog(name)
        assert faint(scripted.page) == []
        picture(f"{name.lower().replace(' ', '-')}-{scheme}")
        scripted.close_dialog()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_that_moves_stands_out_at_its_faintest(
    scripted: Chat, pipeline: FakePipeline, scheme: str
) -> None:
    scripted.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    pipeline.script = lambda request: lasting(Waiting("queued"))
    scripted.begin("Hi")
    scripted.page.evaluate(
        "() => document.getAnimations().forEach((one) => {"
        " one.pause(); one.currentTime = one.effect.getComputedTiming().duration / 2; })"
    )
    assert faint(scripted.page) == []
    scripted.stop()


def test_the_two_schemes_differ(scripted: Chat) -> None:
    colours = []
    for scheme in ("light", "dark"):
        scripted.page.emulate_media(color_scheme=scheme)
        colours.append(scripted.page.evaluate("() => getComputedStyle(document.body).backgroundColor"))
    assert colours[0] != colours[1]


def test_everything_that_can_be_used_has_a_name(scripted: Chat, site: ScriptedSite) -> None:
    site.says(MARKDOWN)
    scripted.ask("How do I sort?")
    told = scripted.page.locator("body").aria_snapshot()
    for name in DIALOGS:
        scripted.open_dialog(name)
        told += "\n" + scripted.page.locator("body").aria_snapshot()
        scripted.close_dialog()
    assert [line for line in told.splitlines() if _NO_NAME.match(line)] == []
    assert scripted.page.get_by_role("main").count() == 1
    assert scripted.page.locator("html").get_attribute("lang") == "en"


def test_a_conversation_by_keyboard_alone(
    page: Page, site: ScriptedSite, pipeline: FakePipeline, scripted: Chat
) -> None:
    press, type_ = page.keyboard.press, page.keyboard.type
    expect(scripted.message).to_be_focused()
    type_("First line")
    press("Shift+Enter")
    type_("second line")
    press("Enter")
    scripted.wait_for_end()
    inputs: Any = pipeline.requests[-1].inputs
    assert inputs[-1].content == "First line\nsecond line"
    expect(scripted.message).to_be_focused()
    pipeline.script = lambda request: [Accepted("demo", 5), Chunk("Half"), 60.0]
    type_("Go on")
    press("Enter")
    expect(scripted.answers.last).to_contain_text("Half")
    press("Escape")
    scripted.wait_for_end()
    assert pipeline.generations[-1].ended.wait(10)


def test_signing_in_by_keyboard_alone(page: Page, watch: Watch, site: ScriptedSite) -> None:
    watch.at_home(site.url)
    page.goto(site.url)
    expect(page.get_by_role("textbox", name="Access token")).to_be_focused()
    page.keyboard.type(site.token)
    page.keyboard.press("Enter")
    expect(page.get_by_role("textbox", name="Message", exact=True)).to_be_focused()


def test_tab_reaches_everything_and_shows_where_it_is(scripted: Chat, page: Page) -> None:
    scripted.ask("Hi")
    reached = []
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.append(page.evaluate(_FOCUSED))
        assert page.evaluate(_SHOWN), f"nothing shows that {reached[-1]!r} has the focus"
    told = " ".join(str(name) for name in reached)
    for name in (
        "New conversation",
        "Settings",
        "Use from code",
        "Regenerate",
        "Edit",
        "Rename",
        "Delete",
        "Export JSON",
    ):
        assert name in told, f"Tab does not reach {name}"


def test_escape_closes_a_dialog_and_gives_the_focus_back(scripted: Chat, page: Page) -> None:
    for name in DIALOGS:
        opener = scripted.button(name)
        opener.focus()
        page.keyboard.press("Enter")
        expect(scripted.dialog(name)).to_be_visible()
        for _ in range(25):
            page.keyboard.press("Tab")
            assert page.evaluate(_INSIDE)
        scripted.close_dialog()
        expect(opener).to_be_focused()


def test_keys_that_an_input_method_takes_do_nothing_else(scripted: Chat, pipeline: FakePipeline) -> None:
    def composing(place: Locator, key: str) -> None:
        place.dispatch_event("keydown", {"key": key, "isComposing": True, "bubbles": True})

    pipeline.script = lambda request: [Accepted("demo", 5), Chunk("Half"), 60.0]
    scripted.begin("Hi")
    composing(scripted.message, "Escape")
    expect(scripted.answers.last).to_contain_text("Half")
    expect(scripted.button("Stop")).to_be_visible()
    scripted.stop()
    expect(scripted.answers.last).to_contain_text("Stopped.")
    scripted.button("Edit").click()
    editor = scripted.page.get_by_role("textbox", name="Your text")
    composing(editor, "Escape")
    composing(editor, "Enter")
    expect(editor).to_be_visible()
    scripted.button("Rename").click()
    name = scripted.page.get_by_role("textbox", name="Conversation name")
    composing(name, "Enter")
    expect(name).to_be_visible()
