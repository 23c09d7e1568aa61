"""Several conversations, kept in the browser: switching, naming, deleting, and taking them along as files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Locator, expect

from tests.page.chat import Chat
from tests.page.scripted import ScriptedSite


def entry(chat: Chat, name: str) -> Locator:
    """What opens a conversation."""
    return chat.conversations.get_by_role("link", name=name)


def two_conversations(scripted: Chat, site: ScriptedSite) -> None:
    site.says("The first answer")
    scripted.ask("Tell me about cats")
    scripted.start_conversation()
    site.says("The second answer")
    scripted.ask("Tell me about dogs")


def test_a_reload_keeps_everything(
    scripted: Chat, site: ScriptedSite, picture: Callable[[str], None]
) -> None:
    two_conversations(scripted, site)
    scripted.page.reload()
    expect(scripted.questions.first).to_contain_text("Tell me about dogs")
    expect(scripted.answers.first).to_contain_text("The second answer")
    entry(scripted, "Tell me about cats").click()
    expect(scripted.answers.first).to_contain_text("The first answer")
    picture("conversations")


def test_a_conversation_goes_on_where_it_was_left(scripted: Chat, site: ScriptedSite) -> None:
    two_conversations(scripted, site)
    entry(scripted, "Tell me about cats").first.click()
    scripted.ask("Go on")
    said = [turn.content for turn in site.pipeline.requests[-1].inputs if turn.role != "system"]  # type: ignore[union-attr]
    assert said == ["Tell me about cats", "The first answer", "Go on"]


def test_an_answer_ends_up_in_the_conversation_that_asked(scripted: Chat, site: ScriptedSite) -> None:
    two_conversations(scripted, site)
    site.says(*["slow "] * 20, pause=0.05)
    scripted.begin("And birds?")
    entry(scripted, "Tell me about cats").click()
    expect(scripted.answers).to_have_count(1)
    expect(scripted.answers.first).to_contain_text("The first answer")
    expect(scripted.answers.first).not_to_contain_text("slow")


def test_a_conversation_gets_another_name(scripted: Chat, site: ScriptedSite) -> None:
    scripted.ask("Tell me about cats")
    rename(scripted, "Cats & <b>dogs</b>")
    expect(entry(scripted, "Cats & <b>dogs</b>").first).to_be_visible()
    scripted.page.reload()
    expect(entry(scripted, "Cats & <b>dogs</b>").first).to_be_visible()


def rename(chat: Chat, name: str) -> None:
    chat.conversations.get_by_role("listitem").first.hover()
    chat.button("Rename").first.click()
    field = chat.conversations.get_by_role("textbox", name="Conversation name")
    field.fill(name)
    field.press("Enter")


def test_a_conversation_is_deleted_for_good_and_alone(scripted: Chat, site: ScriptedSite) -> None:
    two_conversations(scripted, site)
    row = scripted.conversations.get_by_role("listitem").filter(has_text="Tell me about dogs")
    row.hover()
    row.get_by_role("button", name="Delete").click()
    expect(entry(scripted, "Tell me about dogs")).to_have_count(0)
    scripted.page.reload()
    expect(entry(scripted, "Tell me about cats").first).to_be_visible()
    expect(entry(scripted, "Tell me about dogs")).to_have_count(0)
    kept = scripted.page.evaluate("JSON.stringify(localStorage)")
    assert "dogs" not in kept


def saved(chat: Chat, button: str, folder: Path) -> Path:
    with chat.page.expect_download() as started:
        chat.button(button).first.click()
    path = folder / started.value.suggested_filename
    started.value.save_as(path)
    return path


def test_export_as_json_holds_all_turns(scripted: Chat, site: ScriptedSite, tmp_path: Path) -> None:
    site.says('Say "hello" &\n\n```c\nint x;\n```')
    scripted.ask("Héllo ☃ <b>")
    path = saved(scripted, "Export JSON", tmp_path)
    assert path.suffix == ".json"
    told = json.loads(path.read_text("utf-8"))
    turns = [(turn["role"], turn["content"]) for turn in told["turns"]]
    assert turns == [("user", "Héllo ☃ <b>"), ("assistant", 'Say "hello" &\n\n```c\nint x;\n```')]
    assert site.token not in path.read_text("utf-8")


def test_export_as_markdown_reads_as_a_conversation(
    scripted: Chat, site: ScriptedSite, tmp_path: Path
) -> None:
    site.says("**Both** are fine\n\n```c\nint x;\n```")
    scripted.ask("Cats or dogs?")
    path = saved(scripted, "Export Markdown", tmp_path)
    text = path.read_text("utf-8")
    assert path.suffix == ".md"
    assert text.index("Cats or dogs?") < text.index("**Both** are fine")
    assert "```c\nint x;\n```" in text


def test_a_file_name_that_a_conversation_gives_is_harmless(scripted: Chat, tmp_path: Path) -> None:
    scripted.ask("../../etc/passwd: <b>\x00 what? " + "x" * 400)
    path = saved(scripted, "Export JSON", tmp_path)
    assert path.parent == tmp_path
    assert len(path.name) < 120


def test_a_browser_that_keeps_nothing_still_chats(scripted: Chat, site: ScriptedSite) -> None:
    scripted.page.add_init_script(
        "Storage.prototype.setItem = () => { throw new DOMException('full', 'QuotaExceededError'); }"
    )
    scripted.open()
    expect(scripted.ask("Hi")).to_contain_text("Hello there")


@pytest.mark.parametrize("damaged", ['{"half": [1,', "{}", "5", '{"turns": 5}'])
def test_damaged_storage_does_not_keep_the_page_from_opening(scripted: Chat, damaged: str) -> None:
    scripted.ask("Hi")
    scripted.page.evaluate(
        "(text) => { for (const key of Object.keys(localStorage)) localStorage[key] = text; }", damaged
    )
    scripted.page.reload()
    expect(scripted.message).to_be_visible()
    expect(scripted.ask("Hi")).to_contain_text("Hello there")


def test_a_deleted_conversation_can_be_had_back(scripted: Chat, site: ScriptedSite) -> None:
    two_conversations(scripted, site)
    scripted.button("Delete").click()
    expect(scripted.questions).to_have_count(0)
    scripted.button("Undo").click()
    expect(scripted.answers.first).to_contain_text("The second answer")
    expect(entry(scripted, "Tell me about dogs")).to_have_count(1)


def test_an_exported_conversation_is_imported_again(
    scripted: Chat, site: ScriptedSite, tmp_path: Path
) -> None:
    site.says("The answer")
    scripted.ask("Tell me about cats")
    path = saved(scripted, "Export JSON", tmp_path)
    scripted.button("Delete").click()
    import_file(scripted, path)
    expect(scripted.answers.first).to_contain_text("The answer")
    expect(entry(scripted, "Tell me about cats")).to_have_count(1)


def import_file(chat: Chat, path: Path) -> None:
    with chat.page.expect_file_chooser() as chooser:
        chat.button("Import JSON").click()
    chooser.value.set_files(path)


def test_a_file_that_is_no_conversation_is_refused_in_words(scripted: Chat, tmp_path: Path) -> None:
    for text in ("no JSON", "[]", "null", '{"turns": [{"role": "robot", "content": "x"}]}'):
        (tmp_path / "x.json").write_text(text)
        import_file(scripted, tmp_path / "x.json")
        expect(scripted.page.get_by_text("This file is no")).to_be_visible()
        expect(scripted.questions).to_have_count(0)
        scripted.page.evaluate("document.querySelector('#toast').replaceChildren()")


def test_an_imported_conversation_is_as_harmless_as_an_answer(scripted: Chat, tmp_path: Path) -> None:
    evil = "<img src=x onerror=canary(1)>"
    question, answer = ({"role": role, "content": evil} for role in ("user", "assistant"))
    said = {**answer, "model": evil, "finish": evil, "usage": {"completion_tokens": evil}}
    told = {"name": evil, "system": evil, "id": evil, "turns": [question, said]}
    (tmp_path / "x.json").write_text(json.dumps(told))
    import_file(scripted, tmp_path / "x.json")
    expect(scripted.questions.first).to_contain_text(evil)
    expect(entry(scripted, evil)).to_have_count(1)
    expect(scripted.page.locator("img")).to_have_count(0)
    scripted.page.reload()
    expect(scripted.questions.first).to_contain_text(evil)


def test_the_browsers_back_button_leads_to_the_conversation_before(
    scripted: Chat, site: ScriptedSite
) -> None:
    two_conversations(scripted, site)
    entry(scripted, "Tell me about cats").click()
    expect(scripted.answers.first).to_contain_text("The first answer")
    scripted.page.go_back()
    expect(scripted.answers.first).to_contain_text("The second answer")


def test_a_name_stays_with_the_conversation_that_was_being_named(scripted: Chat, site: ScriptedSite) -> None:
    two_conversations(scripted, site)
    entry(scripted, "Tell me about cats").click()
    scripted.button("Rename").click()
    scripted.conversations.get_by_role("textbox", name="Conversation name").fill("Cats")
    scripted.page.go_back()
    expect(scripted.answers.first).to_contain_text("The second answer")
    expect(entry(scripted, "Cats")).to_have_count(1)
    entry(scripted, "Tell me about dogs").click()
    expect(scripted.page).to_have_title("Tell me about dogs · API Host")


def test_a_click_that_ends_the_naming_does_what_it_says(scripted: Chat, site: ScriptedSite) -> None:
    two_conversations(scripted, site)
    scripted.button("Rename").click()
    scripted.conversations.get_by_role("textbox", name="Conversation name").fill("Dogs")
    box = entry(scripted, "Tell me about cats").bounding_box()
    assert box is not None
    scripted.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect(scripted.answers.first).to_contain_text("The first answer")
    expect(entry(scripted, "Dogs")).to_have_count(1)
    scripted.button("Rename").click()
    scripted.message.click()
    expect(scripted.message).to_be_focused()


def test_the_list_keeps_the_focus_when_an_answer_ends(scripted: Chat, site: ScriptedSite) -> None:
    two_conversations(scripted, site)
    site.says(*["slow "] * 5, pause=0.1)
    scripted.begin("And birds?")
    entry(scripted, "Tell me about cats").focus()
    scripted.wait_for_end()
    expect(scripted.answers.last).to_contain_text("tokens/s")
    expect(entry(scripted, "Tell me about cats")).to_be_focused()


def test_the_back_button_closes_the_settings_of_the_conversation_that_is_left(
    scripted: Chat, site: ScriptedSite
) -> None:
    two_conversations(scripted, site)
    entry(scripted, "Tell me about cats").click()
    scripted.settings().get_by_role("textbox", name="System prompt").fill("Of cats alone.")
    scripted.page.go_back()
    expect(scripted.dialog("Settings")).to_be_hidden()
    expect(scripted.settings().get_by_role("textbox", name="System prompt")).to_have_value("")


def test_a_long_name_ends_between_two_signs(scripted: Chat) -> None:
    scripted.ask("x" * 59 + "😀 and more")
    expect(entry(scripted, "x" * 59 + "😀…")).to_have_count(1)


def test_the_back_button_passes_a_conversation_that_is_gone(scripted: Chat, site: ScriptedSite) -> None:
    two_conversations(scripted, site)
    scripted.button("Delete").click()
    expect(scripted.questions).to_have_count(0)
    for _ in range(3):  # the deleted one, the empty one it began as, the one before
        scripted.page.go_back()
    expect(scripted.answers.first).to_contain_text("The first answer")


def test_half_a_sign_does_not_keep_a_conversation_from_going_on(
    scripted: Chat, site: ScriptedSite, tmp_path: Path
) -> None:
    told = {"turns": [{"role": "user", "content": "Cut \ud83d"}, {"role": "assistant", "content": "Yes"}]}
    (tmp_path / "x.json").write_text(json.dumps(told))
    import_file(scripted, tmp_path / "x.json")
    expect(scripted.answers).to_have_count(1)
    expect(scripted.ask("Go on")).to_contain_text("Hello there")
    assert site.pipeline.requests[-1].inputs[0].content == "Cut \N{REPLACEMENT CHARACTER}"  # type: ignore[union-attr]
