"""A conversation on the page: answers that stream, stop and start over, and what is said about them."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, Page, expect

from api_host.generation import Accepted, Chunk, Finished, Timings, Usage, Waiting
from api_host.gpus import Gpu, Gpus
from tests.fakes.pipeline import FakePipeline
from tests.page.chat import Chat
from tests.page.scripted import ScriptedSite, lasting
from tests.page.served import ServedHost
from tests.page.watch import Watch
from tests.web.site import until

MARKDOWN = """## Sorting

Two ways, and *why*:

1. `sorted` makes a **new** list
2. `list.sort` works in place

```python
def by_length(words: list[str]) -> list[str]:
    # the longest last
    return sorted(words, key=len)
```

| way | memory |
|---|---|
| sorted | O(n) |

> See the [documentation](https://docs.python.org/3/howto/sorting.html).
"""


def test_the_demo_model_answers_a_question(chat: Chat, picture: Callable[[str], None]) -> None:
    answer = chat.ask("What is the capital of France?")
    expect(answer).to_contain_text("Paris")
    expect(chat.questions.last).to_contain_text("What is the capital of France?")
    expect(chat.message).to_have_value("")
    expect(chat.message).to_be_focused()
    picture("answered")


def test_a_question_that_follows_is_asked_with_what_was_said_before(
    scripted: Chat, pipeline: FakePipeline
) -> None:
    scripted.ask("What is the capital of France?")
    scripted.ask("And of Italy?")
    turns = [(turn.role, turn.content) for turn in pipeline.requests[-1].inputs if turn.role != "system"]  # type: ignore[union-attr]
    assert turns == [
        ("user", "What is the capital of France?"),
        ("assistant", "Hello there"),
        ("user", "And of Italy?"),
    ]


def test_an_answer_is_shown_as_it_comes(
    scripted: Chat, pipeline: FakePipeline, picture: Callable[[str], None]
) -> None:
    pipeline.script = lambda request: [Accepted("demo", 5), Chunk("The first half"), 60.0]
    scripted.begin("Hi")
    expect(scripted.answers.last).to_contain_text("The first half")
    expect(scripted.button("Stop")).to_be_visible()
    picture("streaming")
    scripted.stop()


def test_stop_ends_the_generation_and_keeps_the_text(scripted: Chat, pipeline: FakePipeline) -> None:
    pipeline.script = lambda request: [Accepted("demo", 5), Chunk("Half an answer"), 60.0]
    scripted.begin("Hi")
    expect(scripted.answers.last).to_contain_text("Half an answer")
    scripted.stop()
    assert pipeline.generations[0].ended.wait(10)
    assert pipeline.generations[0].cancelled.is_set()
    expect(scripted.answers.last).to_contain_text("Half an answer")
    expect(scripted.alert).to_have_count(0)
    scripted.page.reload()
    expect(scripted.answers.last).to_contain_text("Half an answer")


def test_stop_before_the_first_word(scripted: Chat, pipeline: FakePipeline) -> None:
    pipeline.script = lambda request: [Accepted("demo", 5), 60.0]
    scripted.begin("Hi")
    assert until(lambda: bool(pipeline.generations)), "the request may still be on its way"
    scripted.stop()
    assert pipeline.generations[0].ended.wait(10)
    pipeline.script = lambda request: [Accepted("demo", 5), Chunk("Now"), Finished(Usage(5, 1), Timings())]
    scripted.ask("Again")
    expect(scripted.answers.last).to_contain_text("Now")


def test_stop_frees_the_slot_of_the_host(chat: Chat, served: ServedHost) -> None:
    chat.ask("What is the capital of France?")
    set_endless(chat)
    chat.begin("Count for ever")
    assert until(lambda: served.model()["n_running"] == 1)
    expect(chat.answers.last).to_contain_text(re.compile(r"\w"))
    chat.stop()
    assert until(lambda: served.model()["n_running"] == 0)
    assert len(chat.answers.last.inner_text()) > 5


def set_endless(chat: Chat) -> None:
    """Has every answer go on until it is stopped."""
    dialog = chat.settings()
    dialog.get_by_label("max_tokens", exact=True).fill("100000")
    dialog.get_by_label("ignore_eos", exact=True).select_option("yes")
    chat.close_dialog()


def test_markdown_is_shown_as_what_it_means(
    scripted: Chat, site: ScriptedSite, picture: Callable[[str], None]
) -> None:
    site.says(*re.findall(r"(?s).{1,7}", MARKDOWN))
    answer = scripted.ask("How do I sort?")
    expect(answer.get_by_role("heading", name="Sorting")).to_be_visible()
    expect(answer.get_by_role("listitem")).to_have_count(2)
    expect(answer.get_by_role("cell", name="O(n)")).to_be_visible()
    expect(answer.get_by_role("strong")).to_have_text("new")
    expect(answer.locator("pre code")).to_contain_text("return sorted(words, key=len)")
    assert answer.locator("pre code span").count() > 3, "the code is not coloured"
    link = answer.get_by_role("link", name="documentation")
    expect(link).to_have_attribute("href", "https://docs.python.org/3/howto/sorting.html")
    expect(link).to_have_attribute("target", "_blank")
    assert {"noopener", "noreferrer"} & set((link.get_attribute("rel") or "").split())
    picture("markdown")


def test_a_link_whose_address_comes_last_becomes_one_while_it_streams(
    scripted: Chat, pipeline: FakePipeline
) -> None:
    pieces = [
        Chunk("See [the manual][1].\n\n"),
        0.3,
        Chunk("[1]: https://docs.python.org/3/\n\nThere."),
        60.0,
    ]
    pipeline.script = lambda request: [Accepted("demo", 5), *pieces]
    scripted.begin("Hi")
    link = scripted.answers.last.get_by_role("link", name="the manual")
    expect(link).to_have_attribute("href", "https://docs.python.org/3/")
    scripted.stop()


def test_a_block_of_code_is_copied_as_it_was_written(scripted: Chat, site: ScriptedSite) -> None:
    site.says(MARKDOWN)
    answer = scripted.ask("How do I sort?")
    answer.get_by_role("button", name="Copy code").click()
    copied = scripted.page.evaluate("navigator.clipboard.readText()")
    assert copied.rstrip("\n") == MARKDOWN.split("```")[1].removeprefix("python\n").rstrip("\n")


def test_speed_and_context_are_told(chat: Chat) -> None:
    chat.ask("What is the capital of France?")
    told = " ".join(chat.status.all_inner_texts())
    assert re.search(r"\d[\d.,]*\s*(tokens/s|tok/s|tokens per second|tokens a second)", told), told
    assert re.search(r"\d[\d,. ]*\s*(/|of)\s*\d", told), told


def test_while_it_waits_the_page_says_what_for(
    scripted: Chat, pipeline: FakePipeline, picture: Callable[[str], None]
) -> None:
    progress = {"file": "x.gguf", "bytes_done": 250_000_000, "bytes_total": 1_000_000_000}
    pipeline.script = lambda request: lasting(Waiting("downloading", progress))
    scripted.begin("Hi")
    expect(scripted.page.get_by_text(re.compile("download", re.I)).first).to_be_visible()
    picture("waiting")
    scripted.stop()


def test_an_edited_question_is_asked_anew(scripted: Chat, pipeline: FakePipeline) -> None:
    scripted.ask("What is the capital of Frnace?")
    scripted.ask("And of Italy?")
    first = scripted.questions.first
    first.hover()
    first.get_by_role("button", name="Edit").click()
    editor = first.get_by_role("textbox")
    expect(editor).to_have_value("What is the capital of Frnace?")
    editor.fill("What is the capital of France?")
    first.get_by_role("button", name="Ask again").click()
    scripted.wait_for_end()
    expect(scripted.questions).to_have_count(1)
    expect(scripted.questions.first).to_contain_text("France")
    turns = [turn.content for turn in pipeline.requests[-1].inputs if turn.role == "user"]  # type: ignore[union-attr]
    assert turns == ["What is the capital of France?"]


def test_an_answer_is_made_again(scripted: Chat, site: ScriptedSite, pipeline: FakePipeline) -> None:
    scripted.ask("Hi")
    site.says("Another answer")
    answer = scripted.answers.last
    answer.hover()
    answer.get_by_role("button", name="Regenerate").click()
    expect(scripted.answers.last).to_contain_text("Another answer")
    scripted.wait_for_end()
    expect(scripted.answers).to_have_count(1)
    expect(scripted.questions).to_have_count(1)
    turns = [turn.content for turn in pipeline.requests[-1].inputs if turn.role != "system"]  # type: ignore[union-attr]
    assert turns == ["Hi"]


def edited(chat: Chat, text: str) -> Locator:
    """The first question, with another text in its open editor."""
    first = chat.questions.first
    first.hover()
    first.get_by_role("button", name="Edit").click()
    first.get_by_role("textbox").fill(text)
    return first


def test_what_an_edit_took_away_can_be_had_back(scripted: Chat) -> None:
    scripted.ask("One")
    scripted.ask("Two")
    edited(scripted, "Three").get_by_role("textbox").press("Enter")
    expect(scripted.questions).to_have_count(1)
    scripted.wait_for_end()
    scripted.button("Undo").click()
    expect(scripted.questions).to_have_count(2)
    expect(scripted.questions.first).to_contain_text("One")
    scripted.page.reload()
    expect(scripted.questions).to_have_count(2)


def test_an_edit_that_is_given_up_changes_nothing(scripted: Chat, pipeline: FakePipeline) -> None:
    scripted.ask("One")
    first = edited(scripted, "Two")
    first.get_by_role("textbox").press("Escape")
    expect(first).to_contain_text("One")
    expect(first.get_by_role("button", name="Edit")).to_be_focused()
    assert len(pipeline.requests) == 1


def test_thoughts_are_folded_away_from_the_answer(
    scripted: Chat, site: ScriptedSite, picture: Callable[[str], None]
) -> None:
    site.says("<thi", "nk>France has a ", "capital.</th", "ink>\n\nIt is ", "**Paris**.")
    answer = scripted.ask("What is the capital of France?")
    expect(answer.get_by_text("France has a capital.")).to_be_hidden()
    expect(answer.get_by_role("strong")).to_have_text("Paris")
    answer.get_by_text("Thoughts").click()
    expect(answer.get_by_text("France has a capital.")).to_be_visible()
    picture("thoughts")


@pytest.mark.parametrize(
    "pieces",
    [
        ["France has a ", "capital.\n</thi", "nk>\n\nIt is ", "**Paris**."],  # the template has opened them
        ["[THI", "NK]France has a capital.", "[/THINK]It is **Paris**."],
        ["<|channel>thought\nFrance has a capital.<chan", "nel|>It is **Paris**."],
    ],
)
def test_thoughts_are_known_by_the_tags_of_each_family(
    scripted: Chat, site: ScriptedSite, pieces: list[str]
) -> None:
    site.says(*pieces, pause=0.05)
    answer = scripted.ask("What is the capital of France?")
    expect(answer.get_by_text("Thoughts")).to_be_visible()
    expect(answer.get_by_text("France has a capital.")).to_be_hidden()
    expect(answer.locator(".text")).to_have_text("It is Paris.")


@pytest.mark.parametrize("text", ["The tag `</think>` ends it.", "It is `<think>`\n</think>\nhere."])
def test_a_tag_further_on_is_text_like_any_other(scripted: Chat, site: ScriptedSite, text: str) -> None:
    site.says(text)
    expect(scripted.ask("How do models think?")).to_contain_text("</think>")
    expect(scripted.page.get_by_text("Thoughts")).to_have_count(0)


def test_load_and_memory_of_the_gpus_are_shown(
    page: Page,
    watch: Watch,
    site: ScriptedSite,
    monkeypatch: pytest.MonkeyPatch,
    picture: Callable[[str], None],
) -> None:
    gpu = Gpu(0, "Tesla T4", "550.54", load=37.0, memoryUsed=5120.0, memoryFree=10240.0, memoryTotal=15360.0)
    monkeypatch.setattr(Gpus, "read", lambda self: [gpu])
    watch.at_home(site.url)
    Chat(page, site.url, site.token).open()
    shown = page.get_by_role("list", name="GPUs")
    expect(shown).to_contain_text("T4")
    expect(shown).to_contain_text("37 %")
    expect(shown).to_contain_text("5.0 of 15.0 GiB")
    picture("gpu")
    assert [address for _, address, _ in site.seen if site.token in address] == []
    assert page.context.cookies() == []
