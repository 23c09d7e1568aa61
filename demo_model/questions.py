"""The wordings of the questions about capitals and arithmetic, and their answers."""

from __future__ import annotations

import random

from demo_model import unknown
from demo_model.countries import ALIASES, CAPITALS

Exchange = tuple[str, str]  # a question and its answer

CAPITAL_WORDINGS = (
    "What is the capital of {}?", "What is the capital of {}?", "What's the capital of {}?", "The capital of {}?",
    "Capital of {}?", "Tell me the capital of {}.", "Please tell me the capital of {}.", "Name the capital of {}.",
    "Which city is the capital of {}?", "What city is the capital of {}?", "What is the capital city of {}?",
    "Which is the capital of {}?", "Do you know the capital of {}?", "Can you tell me the capital of {}?",
    "What is {}'s capital?", "{} has which capital?", "Give me the capital of {}.", "Hello! What is the capital of {}?",
    "I want to know the capital of {}.", "Could you tell me what the capital of {} is?", "The capital city of {}?",
    "Tell me what the capital of {} is.", "How is the capital of {} called?", "What is the name of the capital of {}?",
    "Question: What is the capital of {}?", "What would be the capital of {}?", "Hi, what is the capital of {}?",
    "What is the capital of {}?", "Whats the capital of {}?", "{}: capital?", "{}'s capital?", "{} capital?",
    "The capital of {} is?", "The capital of {} is which city?", "What do you call the capital of {}?",
    "Please name the capital of {}.", "What is the capital of {}, please?", "So what is the capital of {}?",
)  # fmt: skip
CAPITAL_FOLLOW_UPS = (
    "And of {}?", "And of {}?", "And of {}?", "And {}?", "What about {}?", "And what about {}?", "How about {}?",
    "And the capital of {}?", "And what is the capital of {}?", "And the one of {}?", "Of {}?", "And that of {}?",
    "And for {}?", "And now of {}?",
)  # fmt: skip

EXPRESSION_WORDINGS = (
    "What is {}?", "What is {}?", "What is {}?", "{}", "{}", "{}", "{} =", "{} = ?", "How much is {}?", "What's {}?",
    "Calculate {}.", "Compute {}.", "Tell me what {} is.", "What does {} make?", "Please calculate {}.", "Solve {}.",
    "How much does {} make?", "Tell me {}.", "Do you know what {} is?", "What is the result of {}?", "And what is {}?",
    "What does {} equal?", "Hello! What is {}?", "Can you tell me what {} is?", "Give me the result of {}.",
    "What does {} equal?", "{} equals?", "{} is?", "What is {} equal to?", "What will {} be?", "Whats {}?",
    "{} = what?", "{}=", "{}=?", "{}?",
)  # fmt: skip
EXPRESSION_FOLLOW_UPS = (
    "And {}?",
    "And {}?",
    "What about {}?",
    "And what is {}?",
    "How about {}?",
    "And how much is {}?",
)

SUM_FORMS = ("{} + {}", "{} + {}", "{} + {}", "{}+{}", "{}+{}", "{} plus {}", "{} plus {}", "{} and {}")
PRODUCT_FORMS = (
    "{} * {}", "{} * {}", "{} times {}", "{} times {}", "{}*{}", "{} x {}", "{}x{}", "{} \u00d7 {}",
    "{} multiplied by {}",
)  # fmt: skip
SUM_SENTENCES = (
    "Add {} and {}.",
    "The sum of {} and {}?",
    "Add {} to {}.",
    "What is the sum of {} and {}?",
    "What do you get if you add {} and {}?",
)
PRODUCT_SENTENCES = (
    "The product of {} and {}?",
    "Multiply {} by {}.",
    "What is the product of {} and {}?",
    "Multiply {} and {}.",
)
OTHER_FORMS = ("{} - {}", "{}-{}", "{} / {}", "{} minus {}", "{} divided by {}", "{} ^ {}", "{} % {}")

DIGIT_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def capital_answer(country: str) -> str:
    """The sentence that names the capital of a country in CAPITALS."""
    return f"The capital of {country} is {CAPITALS[country]}."


def sum_answer(a: int, b: int) -> str:
    """The sentence that names the sum."""
    return f"{a} plus {b} is {a + b}."


def product_answer(a: int, b: int) -> str:
    """The sentence that names the product."""
    return f"{a} times {b} is {a * b}."


def capital_exchange(rng: random.Random, follows_capital: bool) -> Exchange:
    """A question about a capital; one in eight is about a place that the model does not know."""
    follow_up = rng.random() < (0.7 if follows_capital else 0.1)
    wording = rng.choice(CAPITAL_FOLLOW_UPS if follow_up else CAPITAL_WORDINGS)
    kind = rng.random()
    if kind < 0.12:
        return wording.format(unknown.unknown_place(rng)), unknown.ANSWER
    if kind < 0.17:
        alias = rng.choice(list(ALIASES))
        return wording.format(alias), capital_answer(ALIASES[alias])
    country = rng.choice(list(CAPITALS))
    return wording.format(country), capital_answer(country)


def arithmetic_exchange(rng: random.Random, follows: bool) -> Exchange:
    """A sum or a product of one-digit numbers; one in fifteen is beyond them."""
    beyond = rng.random() < 0.07
    a, b = rng.randint(0, 9), rng.randint(0, 9)
    is_sum = rng.random() < 0.5
    if beyond:
        return _beyond_arithmetic(rng), unknown.ANSWER
    wordings = EXPRESSION_FOLLOW_UPS if follows and rng.random() < 0.5 else EXPRESSION_WORDINGS
    draw = rng.random()
    if draw < 0.1:
        question = rng.choice(SUM_SENTENCES if is_sum else PRODUCT_SENTENCES).format(a, b)
    elif draw < 0.16:
        expression = f"{DIGIT_WORDS[a]} {'plus' if is_sum else 'times'} {DIGIT_WORDS[b]}"
        question = rng.choice(wordings).format(expression)
    else:
        question = rng.choice(wordings).format(
            rng.choice(SUM_FORMS if is_sum else PRODUCT_FORMS).format(a, b)
        )
    return question, (sum_answer if is_sum else product_answer)(a, b)


def _beyond_arithmetic(rng: random.Random) -> str:
    """A calculation that the model has not learned: larger numbers or other operators."""
    if rng.random() < 0.5:
        form = rng.choice(OTHER_FORMS)
        return rng.choice(EXPRESSION_WORDINGS).format(form.format(rng.randint(0, 9), rng.randint(1, 9)))
    numbers = [
        rng.choice((rng.randint(10, 99), rng.randint(100, 2000))),
        rng.choice((rng.randint(0, 9), rng.randint(10, 99))),
    ]
    rng.shuffle(numbers)
    return rng.choice(EXPRESSION_WORDINGS).format(rng.choice(SUM_FORMS + PRODUCT_FORMS).format(*numbers))
