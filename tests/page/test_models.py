"""The model picker: what there is, loading another one with its progress, and what goes wrong on the way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from playwright.sync_api import Locator, expect

from api_host.errors import RepoNotFound
from api_host.generation import Accepted, Finished, Timings, Usage, Waiting
from api_host.models.pool.entry import unseen
from tests.fakes.pipeline import FakePipeline
from tests.page.chat import Chat
from tests.page.scripted import CACHED, LOADED, ScriptedSite, lasting
from tests.page.watch import Watch

OTHER = "some/other-GGUF:Q4_K_M"
HALF = {"file": "other-Q4_K_M.gguf", "bytes_done": 500_000_000, "bytes_total": 1_000_000_000}


def picker(chat: Chat) -> Locator:
    return chat.open_dialog("Model")


def load(dialog: Locator, name: str) -> None:
    dialog.get_by_role("textbox", name="Model name").fill(name)
    dialog.get_by_role("button", name="Load", exact=True).click()


def being_fetched(pipeline: FakePipeline, name: str) -> None:
    """The host downloads ``name``, is half done, and stays there."""
    fetched = {**unseen(name), "status": "downloading", "progress": HALF, "size": HALF["bytes_total"]}
    pipeline.known = [dict(LOADED), fetched]
    pipeline.script = lambda request: lasting(Waiting("downloading", HALF))


def is_there(pipeline: FakePipeline, name: str) -> None:
    pipeline.known = [dict(LOADED), {**LOADED, "name": name}]
    pipeline.script = lambda request: [Accepted(name, 0), Finished(Usage(), Timings())]


def test_the_picker_lists_what_is_loaded_and_what_is_on_the_disk(
    scripted: Chat, picture: Callable[[str], None]
) -> None:
    dialog = picker(scripted)
    expect(dialog).to_contain_text("demo")
    expect(dialog).to_contain_text(CACHED["name"])
    expect(dialog).to_contain_text("1.2 GB")
    picture("models")


def test_another_model_is_loaded_with_its_progress_shown_and_answers(
    scripted: Chat, pipeline: FakePipeline, picture: Callable[[str], None]
) -> None:
    dialog = picker(scripted)
    being_fetched(pipeline, OTHER)
    load(dialog, OTHER)
    bar = scripted.page.get_by_role("progressbar", name="Model progress")
    expect(bar).to_have_js_property("value", 0.5)
    expect(dialog).to_contain_text("500.0 MB of 1.0 GB")
    assert pipeline.loads[0][0] == OTHER
    picture("loading")
    is_there(pipeline, OTHER)
    pipeline.generations[-1].cancel()
    expect(bar).to_be_hidden()


def test_a_model_is_named_in_the_requests_that_follow(scripted: Chat, pipeline: FakePipeline) -> None:
    dialog = picker(scripted)
    is_there(pipeline, OTHER)
    load(dialog, OTHER)
    expect(dialog).to_be_hidden()
    expect(scripted.page.get_by_role("banner")).to_contain_text("other-GGUF")
    pipeline.script = FakePipeline().script
    scripted.ask("Hi")
    assert pipeline.requests[-1].model == OTHER


def test_a_model_that_does_not_exist_is_told_and_the_old_one_goes_on(
    scripted: Chat, pipeline: FakePipeline, watch: Watch, picture: Callable[[str], None]
) -> None:
    watch.expect_message("status of 404")
    dialog = picker(scripted)
    pipeline.refusal = RepoNotFound("there is no repository some/other-GGUF on the hub")
    load(dialog, OTHER)
    expect(dialog.get_by_role("alert")).to_contain_text("There is no repository")
    picture("no-such-model")
    pipeline.refusal = None
    scripted.page.keyboard.press("Escape")
    expect(scripted.ask("Hi")).to_contain_text("Hello there")


def test_names_of_models_are_shown_as_text(page: Any, watch: Watch, site: ScriptedSite) -> None:
    site.pipeline.known.append(unseen("<img src=x onerror=canary(1)>.gguf", 5))
    watch.at_home(site.url)
    chat = Chat(page, site.url, site.token).open()
    expect(picker(chat)).to_contain_text("<img src=x onerror=canary(1)>.gguf")


def test_the_real_host_loads_a_model_by_name(chat: Chat) -> None:
    dialog = picker(chat)
    load(dialog, "demo")
    expect(dialog).to_be_hidden()
    expect(chat.ask("What is the capital of Italy?")).to_contain_text("Rome")


def test_the_list_keeps_the_focus_while_it_is_kept_up_to_date(scripted: Chat, pipeline: FakePipeline) -> None:
    button = picker(scripted).get_by_role("button", name="Free memory")
    button.focus()
    for n_running in (0, 1):  # as it was, and with something new to draw
        pipeline.known[0] = {**LOADED, "n_running": n_running}
        with scripted.page.expect_response("**/api/models"):
            pass
        scripted.page.wait_for_timeout(100)
        expect(button).to_be_focused()
