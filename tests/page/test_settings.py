"""System prompt and sampling parameters: their defaults, their explanations, and that a request carries them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

from playwright.sync_api import Locator, expect

from api_host.generation import Accepted, Chunk, Finished, GenerationRequest, SamplingParams, Timings, Usage
from tests.fakes.pipeline import FakePipeline, Step
from tests.page.chat import Chat

DEFAULTS = SamplingParams()
NUMBERS = {
    "max_tokens": 77,
    "temperature": 0.3,
    "top_k": 33,
    "top_p": 0.5,
    "min_p": 0.05,
    "typical_p": 0.9,
    "repeat_penalty": 1.2,
    "repeat_last_n": 128,
    "frequency_penalty": 0.4,
    "presence_penalty": -0.5,
    "mirostat_tau": 4.5,
    "mirostat_eta": 0.2,
    "seed": 42,
}


def asked(chat: Chat, pipeline: FakePipeline) -> GenerationRequest:
    chat.close_dialog()
    chat.ask("Hi")
    return pipeline.requests[-1]


def test_untouched_settings_ask_for_the_hosts_defaults(scripted: Chat, pipeline: FakePipeline) -> None:
    scripted.ask("Hi")
    assert pipeline.requests[-1].sampling == DEFAULTS
    assert [turn.role for turn in pipeline.requests[-1].inputs] == ["user"]  # type: ignore[union-attr]


def test_the_system_prompt_comes_first(scripted: Chat, pipeline: FakePipeline) -> None:
    scripted.settings().get_by_role("textbox", name="System prompt").fill("Answer in Latin.")
    inputs: Any = asked(scripted, pipeline).inputs
    assert [(turn.role, turn.content) for turn in inputs] == [("system", "Answer in Latin."), ("user", "Hi")]


def test_every_parameter_has_a_field_an_explanation_and_its_default(scripted: Chat) -> None:
    dialog = scripted.settings()
    for parameter in fields(SamplingParams):
        check_field(dialog.get_by_label(parameter.name, exact=True), parameter.name)


def check_field(field: Locator, name: str) -> None:
    expect(field).to_be_visible()
    explained = field.evaluate(
        "(field) => (field.getAttribute('aria-describedby') || '').split(' ').map("
        "(id) => document.getElementById(id)?.textContent || '').join(' ')"
    )
    assert len(explained) > 15, f"{name} is not explained"
    default = getattr(DEFAULTS, name)
    if isinstance(default, (int, float)) and not isinstance(default, bool):
        assert float(field.get_attribute("placeholder") or "nan") == default
        assert f"default {default:g}" in explained


def test_parameters_reach_the_request(
    scripted: Chat, pipeline: FakePipeline, picture: Callable[[str], None]
) -> None:
    dialog = scripted.settings()
    picture("settings")
    for name, value in NUMBERS.items():
        dialog.get_by_label(name, exact=True).fill(str(value))
    sampling = asked(scripted, pipeline).sampling
    assert {name: getattr(sampling, name) for name in NUMBERS} == NUMBERS


def test_settings_outlive_a_reload_and_can_be_reset(scripted: Chat, pipeline: FakePipeline) -> None:
    scripted.settings().get_by_label("temperature", exact=True).fill("0.25")
    scripted.page.keyboard.press("Escape")
    scripted.page.reload()
    scripted.ask("Hi")
    assert pipeline.requests[-1].sampling.temperature == 0.25
    scripted.settings().get_by_role("button", name="Back to defaults").click()
    assert asked(scripted, pipeline).sampling == DEFAULTS


def test_a_value_that_the_host_would_refuse_is_told_at_its_field(scripted: Chat) -> None:
    dialog = scripted.settings()
    for name, value in {"top_p": "7", "temperature": "-1", "max_tokens": "0", "top_k": "1.5"}.items():
        field = dialog.get_by_label(name, exact=True)
        field.fill(value)
        expect(field).to_have_attribute("aria-invalid", "true")
        assert field.evaluate("(field) => field.parentElement.innerText").count("Allowed:") == 1
    scripted.close_dialog()
    expect(scripted.ask("Hi")).to_contain_text("Hello there")


def test_parameters_that_are_no_numbers_reach_the_request(scripted: Chat, pipeline: FakePipeline) -> None:
    dialog = scripted.settings()
    dialog.get_by_label("stop", exact=True).fill("###\n\\nUser:")
    dialog.get_by_label("ignore_eos", exact=True).select_option("yes")
    dialog.get_by_label("logit_bias", exact=True).fill('{"13": -100}')
    dialog.get_by_label("grammar", exact=True).fill('root ::= "yes" | "no"')
    dialog.get_by_label("json_schema", exact=True).fill('{"type": "object"')
    expect(dialog.get_by_label("json_schema", exact=True)).to_have_attribute("aria-invalid", "true")
    dialog.get_by_label("json_schema", exact=True).fill("")
    sampling = asked(scripted, pipeline).sampling
    assert sampling.stop == ["###", "\nUser:"]
    assert sampling.ignore_eos is True
    assert sampling.logit_bias == {13: -100.0}
    assert sampling.grammar == 'root ::= "yes" | "no"'
    assert sampling.json_schema is None


def test_how_the_model_runs_reaches_the_request(scripted: Chat, pipeline: FakePipeline) -> None:
    dialog = scripted.settings()
    dialog.get_by_label("ctx_length", exact=True).fill("1024")
    dialog.get_by_label("use_gpu", exact=True).select_option("no")
    dialog.get_by_label("chat_format", exact=True).fill("chatml")
    request = asked(scripted, pipeline)
    assert (request.options.ctx_length, request.options.use_gpu) == (1024, False)
    assert request.chat_format == "chatml"


def test_several_answers_can_be_chosen_from(scripted: Chat, pipeline: FakePipeline) -> None:
    scripted.settings().get_by_label("n", exact=True).fill("2")
    end: list[Step] = [Finished(Usage(500, 1800), Timings())]
    said = [Chunk("<think>Or dogs?</think>Cats", 0), Chunk("Dogs", 1)]
    pipeline.script = lambda request: [Accepted("demo", 500), *said, *end]
    assert asked(scripted, pipeline).sampling.n == 2
    expect(scripted.answers.last).to_contain_text("Cats")
    expect(scripted.status.first).to_contain_text("context about 1,400 of 2,048 tokens")
    scripted.page.get_by_label("Which answer").select_option("Answer 2 of 2")
    expect(scripted.answers.last).to_contain_text("Dogs")
    expect(scripted.answers.last).not_to_contain_text("Thoughts")
    scripted.page.reload()
    expect(scripted.answers.last).to_contain_text("Dogs")


def test_an_answer_that_was_stopped_before_its_first_word_can_be_chosen(
    scripted: Chat, pipeline: FakePipeline
) -> None:
    scripted.settings().get_by_label("n", exact=True).fill("3")
    scripted.close_dialog()
    pipeline.script = lambda request: [Accepted("demo", 5), Chunk("Cats", 0), Chunk("Birds", 2), 60.0]
    scripted.begin("Hi")
    expect(scripted.answers.last).to_contain_text("Cats")
    scripted.stop()
    choice = scripted.page.get_by_label("Which answer")
    choice.select_option("Answer 2 of 3")
    expect(scripted.answers.last).not_to_contain_text("Cats")
    scripted.page.reload()
    choice.select_option("Answer 3 of 3")
    expect(scripted.answers.last).to_contain_text("Birds")
