"""What the page says when something goes wrong, and that it goes on afterwards."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from api_host.errors import ContextLengthExceeded, GenerationFailed, ModelLoadFailed, QueueFull, WorkerDied
from api_host.generation import Accepted, Chunk, Finished, Timings, Usage
from tests.fakes.pipeline import FakePipeline, Step, answer
from tests.page.chat import Chat
from tests.page.scripted import ScriptedSite
from tests.page.watch import Watch


@pytest.fixture(autouse=True)
def failures_are_reported(watch: Watch) -> None:
    watch.expect_message(r"status of [45]\d\d")


def recovers(scripted: Chat, pipeline: FakePipeline) -> None:
    pipeline.refusal = pipeline.failure = None
    pipeline.script = lambda request: answer("All is well")
    scripted.ask("Are you there?")
    expect(scripted.answers.last).to_contain_text("All is well")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ModelLoadFailed("the file is no GGUF"), "the file is no GGUF"),
        (
            ContextLengthExceeded("the prompt has 9000 tokens", n_prompt_tokens=9000, n_ctx=2048),
            "9000 tokens",
        ),
        (WorkerDied("the model's process died"), "process died"),
    ],
)
def test_a_refusal_is_told_in_the_words_of_the_host(
    scripted: Chat, pipeline: FakePipeline, error: Exception, told: str
) -> None:
    pipeline.refusal = error
    scripted.message.fill("Hi")
    scripted.button("Send").click()
    expect(scripted.alert.first).to_contain_text(told, ignore_case=True)
    scripted.wait_for_end()
    recovers(scripted, pipeline)


def test_a_full_host_says_when_to_try_again(
    scripted: Chat, pipeline: FakePipeline, picture: Callable[[str], None]
) -> None:
    pipeline.refusal = QueueFull("100 requests wait already; try again later", limit=100, retry_after=7.0)
    scripted.message.fill("Hi")
    scripted.button("Send").click()
    expect(scripted.alert.first).to_contain_text("100 requests wait already")
    expect(scripted.button(re.compile(r"Try again in \d s"))).to_be_disabled()
    picture("full")
    recovers(scripted, pipeline)


def test_an_error_in_the_middle_keeps_the_text_and_is_told(
    scripted: Chat, pipeline: FakePipeline, picture: Callable[[str], None]
) -> None:
    late = GenerationFailed("llama.cpp failed in this request")
    pipeline.script = lambda request: [Accepted("demo", 5), Chunk("It began well"), late]
    scripted.begin("Hi")
    expect(scripted.alert.first).to_contain_text("llama.cpp failed in this request")
    expect(scripted.answers.last).to_contain_text("It began well")
    picture("late-error")
    recovers(scripted, pipeline)


def test_a_stream_that_breaks_off_is_told(page: Page, watch: Watch) -> None:
    watch.expect_message("net::ERR")
    site = ScriptedSite()
    watch.at_home(site.url)
    chat = Chat(page, site.url, site.token).open()
    site.pipeline.script = lambda request: [Accepted("demo", 5), Chunk("It began"), 60.0]
    chat.begin("Hi")
    expect(chat.answers.last).to_contain_text("It began")
    site.close()
    expect(chat.alert.first).to_contain_text("broke off")
    expect(chat.answers.last).to_contain_text("It began")


def test_a_failed_answer_is_tried_again(scripted: Chat, pipeline: FakePipeline) -> None:
    pipeline.refusal = WorkerDied("the model's process died")
    scripted.message.fill("Hi")
    scripted.button("Send").click()
    expect(scripted.alert.first).to_be_visible()
    pipeline.refusal = None
    scripted.button("Try again").click()
    expect(scripted.answers.last).to_contain_text("Hello there")
    expect(scripted.alert).to_have_count(0)
    expect(scripted.questions).to_have_count(1)


def test_an_answer_that_reached_its_limit_says_so(scripted: Chat, pipeline: FakePipeline) -> None:
    end: list[Step] = [Chunk("And then", finish_reason="length"), Finished(Usage(5, 512), Timings())]
    pipeline.script = lambda request: [Accepted("demo", 5), *end]
    last = scripted.ask("Tell me a story")
    expect(last).to_contain_text("max_tokens")


def test_a_host_that_is_gone_is_told(scripted: Chat, watch: Watch, pipeline: FakePipeline) -> None:
    watch.expect_message("ERR_INTERNET_DISCONNECTED")
    scripted.page.context.set_offline(True)
    scripted.message.fill("Hi")
    scripted.button("Send").click()
    expect(scripted.alert.first).to_contain_text("host")
    scripted.page.context.set_offline(False)
    recovers(scripted, pipeline)


def test_an_error_is_shown_as_text(scripted: Chat, pipeline: FakePipeline) -> None:
    pipeline.refusal = ModelLoadFailed("no model <img src=x onerror=canary(1)> here")
    scripted.message.fill("Hi")
    scripted.button("Send").click()
    expect(scripted.alert.first).to_contain_text("<img src=x onerror=canary(1)>")


@pytest.mark.parametrize("mark", ["- ", "1. ", "> "])
def test_marks_that_nest_without_end_are_shown_as_written(
    scripted: Chat, site: ScriptedSite, mark: str
) -> None:
    site.says("It begins well.\n\n", *[mark * 1000] * 6, "x")
    answer = scripted.ask("Hi")
    expect(answer).to_contain_text("It begins well.")
    expect(answer).to_contain_text(mark * 5000)
    scripted.page.reload()
    expect(scripted.answers.last).to_contain_text("It begins well.")
    site.says("All is well")
    expect(scripted.ask("Are you there?")).to_contain_text("All is well")
