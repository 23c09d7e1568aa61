"""Two tabs of one browser, which share what it keeps: neither takes anything from the other."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from api_host.generation import Accepted, Finished, Timings, Usage
from tests.fakes.pipeline import FakePipeline, answer
from tests.page.chat import Chat
from tests.page.scripted import CACHED, ScriptedSite


@pytest.fixture
def other(scripted: Chat, site: ScriptedSite) -> Chat:
    """A second tab beside ``scripted``."""
    return Chat(scripted.page.context.new_page(), site.url, site.token).open()


def said(pipeline: FakePipeline) -> list[str]:
    return [str(turn.content) for turn in pipeline.requests[-1].inputs]  # type: ignore[union-attr]


def test_turns_of_another_tab_are_shown_and_kept(
    scripted: Chat, other: Chat, site: ScriptedSite, pipeline: FakePipeline
) -> None:
    site.says("One")
    scripted.ask("First")
    other.page.goto(scripted.page.url)
    expect(other.answers).to_have_count(1)
    site.says("Two")
    other.ask("Second")
    expect(scripted.answers.last).to_contain_text("Two")
    site.says("Three")
    scripted.ask("Third")
    assert said(pipeline) == ["First", "One", "Second", "Two", "Third"]
    other.page.reload()
    expect(other.questions).to_have_count(3)


def test_what_another_tab_does_leaves_an_edit_alone(scripted: Chat, other: Chat, site: ScriptedSite) -> None:
    scripted.ask("First")
    other.page.goto(scripted.page.url)
    scripted.button("Edit").click()
    scripted.page.get_by_role("textbox", name="Your text").fill("Half a thought")
    other.ask("Second")
    expect(scripted.page.get_by_role("textbox", name="Your text")).to_have_value("Half a thought")


def test_a_model_that_another_tab_chooses_is_not_asked_under_this_ones_name(
    scripted: Chat, other: Chat, pipeline: FakePipeline
) -> None:
    pipeline.script = lambda request: [Accepted(CACHED["name"], 0), Finished(Usage(), Timings())]
    dialog = other.open_dialog("Model")
    dialog.get_by_text(CACHED["name"]).click()
    expect(dialog).to_be_hidden()
    pipeline.script = lambda request: answer("Hello")
    expect(scripted.page.get_by_role("banner")).to_contain_text("demo")
    scripted.ask("Hi")
    assert pipeline.requests[-1].model is None
    other.ask("Hi")
    assert pipeline.requests[-1].model == CACHED["name"]
