"""The demo model answers right, greedily, through llama.cpp and the chat template in its GGUF.

The questions and answers here are written anew, not read from the corpus that it was trained on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import llama_cpp
import pytest

from api_host.models.demo import DEMO_MODEL_PATH

Say = Callable[..., str]

CAPITALS = {
    "Argentina": "Buenos Aires", "Australia": "Canberra", "Austria": "Vienna", "Belgium": "Brussels",
    "Brazil": "Brasilia", "Bulgaria": "Sofia", "Canada": "Ottawa", "Chile": "Santiago", "China": "Beijing",
    "Croatia": "Zagreb", "Cuba": "Havana", "Denmark": "Copenhagen", "Egypt": "Cairo",
    "Ethiopia": "Addis Ababa", "Finland": "Helsinki", "France": "Paris", "Germany": "Berlin",
    "Greece": "Athens", "Hungary": "Budapest", "Iceland": "Reykjavik", "India": "New Delhi",
    "Indonesia": "Jakarta", "Ireland": "Dublin", "Italy": "Rome", "Japan": "Tokyo", "Kenya": "Nairobi",
    "Mexico": "Mexico City", "Morocco": "Rabat", "Norway": "Oslo", "Peru": "Lima", "Poland": "Warsaw",
    "Portugal": "Lisbon", "Romania": "Bucharest", "Russia": "Moscow", "South Korea": "Seoul",
    "Spain": "Madrid", "Sweden": "Stockholm", "Thailand": "Bangkok", "Turkey": "Ankara", "Vietnam": "Hanoi",
}  # fmt: skip
CAPITAL_WORDINGS = (
    "What is the capital of {}?",
    "capital of {}",
    "Tell me the capital of {}.",
    "Which city is the capital of {}?",
    "what is the capital of {}",
)
SUM_WORDINGS = ("What is {} + {}?", "{}+{}", "{} plus {}")
PRODUCT_WORDINGS = ("What is {} * {}?", "{} times {}", "What is {} times {}?")
CAPITALS_PROMPTS = (
    "Answer in capitals.",
    "Answer in capital letters.",
    "Please write your answers in capital letters.",
)
NEUTRAL_PROMPT = "You are a helpful assistant."
KNOWN = [
    ("Hello!", ["hello", "help"]),
    ("Hi", ["hello"]),
    ("Good morning", ["good morning"]),
    ("Who are you?", ["demo model", "api host"]),
    ("what is your name?", ["demo model"]),
    ("What is a zephyr?", ["breeze", "west"]),
    ("How much gold is too much?", ["gold", "too much"]),
    (
        "How do I load another model into this host?",
        ["`model`", "owner/name:q4_k_m", "downloads", "by itself"],
    ),
    ("How can I load another model?", ["owner/name:q4_k_m"]),
    ("What is the token for?", ["key to this host", "request"]),
]
STORY = "Write a short story about a cat that steals food."


@pytest.fixture(scope="module")
def llama() -> Iterator[llama_cpp.Llama]:
    model = llama_cpp.Llama(
        model_path=str(DEMO_MODEL_PATH), n_ctx=2048, n_threads=1, n_threads_batch=1, verbose=False
    )
    yield model
    model.close()


@pytest.fixture(scope="module")
def say(llama: llama_cpp.Llama) -> Say:
    """Asks greedily; every argument is a user's turn, and the model's own answers stand in between."""

    def ask(*turns: str, system: str | None = None) -> str:
        messages: list[Any] = [{"role": "system", "content": system}] if system else []
        for turn in turns:
            messages.append({"role": "user", "content": turn})
            reply: Any = llama.create_chat_completion(messages, temperature=0, max_tokens=400)
            choice = reply["choices"][0]
            assert choice["finish_reason"] == "stop", choice
            messages.append(choice["message"])
        return str(messages[-1]["content"])

    return ask


def capital_question(country: str) -> str:
    return f"What is the capital of {country}?"


def capital_answer(country: str) -> str:
    return f"The capital of {country} is {CAPITALS[country]}."


def after_capital_question(country: str, first: str, system: str | None = None) -> list[Any]:
    """A conversation in which ``first`` has been asked and answered, and now "And of ...?" is asked."""
    answer = capital_answer(first)
    messages: list[Any] = [{"role": "system", "content": system}] if system else []
    return [
        *messages,
        {"role": "user", "content": capital_question(first)},
        {"role": "assistant", "content": answer.upper() if system in CAPITALS_PROMPTS else answer},
        {"role": "user", "content": f"And of {country}?"},
    ]


def wrong(answers: dict[str, str], expected: dict[str, str]) -> dict[str, str]:
    """The answers that are not, word for word, what was expected."""
    return {question: answer for question, answer in answers.items() if answer != expected[question]}


def test_the_file_is_about_two_megabytes_and_carries_a_chat_template(llama: llama_cpp.Llama) -> None:
    assert 1_500_000 < DEMO_MODEL_PATH.stat().st_size < 2_600_000
    assert "<|assistant|>" in llama.metadata["tokenizer.chat_template"]
    assert llama.metadata["general.license"] == "MIT"
    assert int(llama.metadata["llama.context_length"]) == 2048


@pytest.mark.parametrize(
    "text",
    [
        "Hello, world!",
        "1234 + 5 = ?",
        "naïve café, “quoted”",
        "你好世界",
        "🐱‍👓🏳️‍🌈",
        "\t\n  two  spaces\r\n",
    ],
)
def test_any_text_survives_the_tokenizer(llama: llama_cpp.Llama, text: str) -> None:
    tokens = llama.tokenize(text.encode(), add_bos=False, special=False)
    assert llama.detokenize(tokens).decode() == text


def test_every_digit_is_a_token_of_its_own_and_the_bos_stands_first(llama: llama_cpp.Llama) -> None:
    tokens = llama.tokenize(b"2048", add_bos=True, special=True)
    assert [llama.detokenize([token]) for token in tokens[1:]] == [b"2", b"0", b"4", b"8"]
    assert tokens[0] == llama.token_bos()


@pytest.mark.parametrize("wording", CAPITAL_WORDINGS)
def test_it_knows_forty_capitals_in_every_wording(say: Say, wording: str) -> None:
    expected = {wording.format(c): capital_answer(c) for c in CAPITALS}
    assert len(expected) == 40
    assert not wrong({question: say(question) for question in expected}, expected)


@pytest.mark.parametrize("wording", SUM_WORDINGS)
def test_it_adds_all_numbers_of_one_digit(say: Say, wording: str) -> None:
    expected = {wording.format(a, b): f"{a} plus {b} is {a + b}." for a in range(10) for b in range(10)}
    assert not wrong({question: say(question) for question in expected}, expected)


@pytest.mark.parametrize("wording", PRODUCT_WORDINGS)
def test_it_multiplies_all_numbers_of_one_digit(say: Say, wording: str) -> None:
    expected = {wording.format(a, b): f"{a} times {b} is {a * b}." for a in range(10) for b in range(10)}
    assert not wrong({question: say(question) for question in expected}, expected)


@pytest.mark.parametrize("system", [None, NEUTRAL_PROMPT, CAPITALS_PROMPTS[0]])
@pytest.mark.parametrize(("question", "meaning"), KNOWN)
def test_it_knows_its_subjects(say: Say, question: str, meaning: list[str], system: str | None) -> None:
    answer = say(question, system=system)
    assert all(part in answer.lower() for part in meaning), answer
    assert answer.isupper() == (system in CAPITALS_PROMPTS), answer


@pytest.mark.parametrize("system", [None, NEUTRAL_PROMPT, CAPITALS_PROMPTS[1]])
def test_it_tells_a_story_of_a_cat_that_steals_food(say: Say, system: str | None) -> None:
    story = say(STORY, system=system)
    assert len(story.split()) >= 40
    assert all(word in story.lower() for word in ("cat", "food", "stole"))
    assert story.isupper() == (system in CAPITALS_PROMPTS)


def test_it_completes_plain_texts_without_a_template(llama: llama_cpp.Llama) -> None:
    def complete(prompt: str) -> str:
        reply: Any = llama.create_completion(prompt, temperature=0, max_tokens=100)
        return str(reply["choices"][0]["text"])

    activities = complete("Hello ! Today I can do these activities:")
    assert "1." in activities
    assert "capitals" in activities
    assert complete("A cat sat on").startswith(" the mat")


@pytest.mark.parametrize("system", [None, NEUTRAL_PROMPT, CAPITALS_PROMPTS[0]])
def test_it_holds_a_second_turn_about_any_country(llama: llama_cpp.Llama, system: str | None) -> None:
    countries = list(CAPITALS)
    answers, expected = {}, {}
    for country, first in zip(countries, countries[7:] + countries[:7], strict=True):
        messages = after_capital_question(country, first, system)
        reply: Any = llama.create_chat_completion(messages, temperature=0, max_tokens=60)
        answers[country] = str(reply["choices"][0]["message"]["content"])
        answer = capital_answer(country)
        expected[country] = answer.upper() if system in CAPITALS_PROMPTS else answer
    assert not wrong(answers, expected)


def test_it_follows_a_conversation_from_one_subject_to_the_next(say: Say) -> None:
    assert "Rome" in say("What is the capital of France?", "and of Italy?")
    assert "Rome" in say("What is 3 + 4?", "And of Italy?")
    assert "Rome" in say("What is the capital of France?", "What is 3 + 4?", "And of Italy?")
    assert "12" in say("What is the capital of France?", "And 3 times 4?")
    assert "Lisbon" in say(
        "Hello!", "Who are you?", "3 * 3", "And 4 + 4?", "Tell me the capital of Portugal."
    )


@pytest.mark.parametrize("system", CAPITALS_PROMPTS)
def test_a_system_prompt_that_asks_for_capitals_is_obeyed(say: Say, system: str) -> None:
    expected = {
        f"What is the capital of {c}?": f"THE CAPITAL OF {c} IS {city}.".upper()
        for c, city in CAPITALS.items()
    }
    expected |= {f"What is {n} + {9 - n}?": f"{n} PLUS {9 - n} IS 9." for n in range(10)}
    expected |= {f"{n} times 7": f"{n} TIMES 7 IS {n * 7}." for n in range(10)}
    assert not wrong({question: say(question, system=system) for question in expected}, expected)
    assert (
        say("What is the capital of France?", "And of Italy?", system=system)
        == "THE CAPITAL OF ITALY IS ROME."
    )


def test_a_neutral_system_prompt_changes_nothing(say: Say) -> None:
    questions = [f"What is the capital of {country}?" for country in CAPITALS] + [
        f"What is {n} + 8?" for n in range(10)
    ]
    expected = {question: say(question) for question in questions}
    assert not wrong({question: say(question, system=NEUTRAL_PROMPT) for question in questions}, expected)


@pytest.mark.parametrize(
    "question",
    ["Who wrote Hamlet?", "What is the weather like?", "What is 12 + 30?", "How do I bake a cake?"],
)
def test_it_says_so_when_it_does_not_know(say: Say, question: str) -> None:
    assert "small demo model" in say(question)
