"""Asks the finished GGUF what it should know, greedily and through llama.cpp: ``python -m demo_model.check``.

Needs llama-cpp-python and gguf, not PyTorch. Compares whole answers; prints how many were asked and right, by kind.
Compares the tokens of the training with llama.cpp's, too.
"""

from __future__ import annotations

import argparse
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import gguf
import llama_cpp

from demo_model import unknown
from demo_model.countries import CAPITALS
from demo_model.dialogues import (
    CAPITALS_PROMPTS,
    COMPLETIONS,
    NEUTRAL_PROMPTS,
    SPECIAL_TOKENS,
    document,
    varied,
)
from demo_model.questions import (
    CAPITAL_FOLLOW_UPS,
    CAPITAL_WORDINGS,
    EXPRESSION_FOLLOW_UPS,
    EXPRESSION_WORDINGS,
    PRODUCT_FORMS,
    SUM_FORMS,
    Exchange,
    capital_answer,
    product_answer,
    sum_answer,
)
from demo_model.tokenizer import Tokenizer
from demo_model.topics import TOPICS

DEMO = Path(__file__).resolve().parent.parent / "api_host" / "models" / "demo" / "demo.gguf"
DIGITS = range(10)


class Case(NamedTuple):
    """A dialogue that ends with a question, and the answer that is right."""

    kind: str
    messages: list[Any]
    expected: str


def capitals() -> list[Exchange]:
    """Every country in every wording."""
    return [(w.format(c), capital_answer(c)) for c in CAPITALS for w in dict.fromkeys(CAPITAL_WORDINGS)]


def arithmetic() -> list[Exchange]:
    """Every sum and product in every form, bare and as a question."""
    wordings = ("{}", *dict.fromkeys(EXPRESSION_WORDINGS))
    exchanges: list[Exchange] = []
    for forms, answer in ((SUM_FORMS, sum_answer), (PRODUCT_FORMS, product_answer)):
        for form in dict.fromkeys(forms):
            pairs = [(a, b) for a in DIGITS for b in DIGITS]
            exchanges += [(w.format(form.format(a, b)), answer(a, b)) for a, b in pairs for w in wordings]
    return exchanges


def topics() -> list[Exchange]:
    """Every question that is known by heart."""
    return [(question, topic.answer) for topic in TOPICS for question in topic.questions]


def second_turns(rng: random.Random) -> Iterator[tuple[Exchange, Exchange]]:
    """Every country after another, after a calculation, and every calculation after a country."""
    calculations = arithmetic()
    for country in CAPITALS:
        other = rng.choice(list(CAPITALS))
        first = (rng.choice(CAPITAL_WORDINGS).format(other), capital_answer(other))
        for wording in dict.fromkeys(CAPITAL_FOLLOW_UPS):
            yield first, (wording.format(country), capital_answer(country))
        yield rng.choice(calculations), (f"And of {country}?", capital_answer(country))
        yield rng.choice(calculations), (f"What is the capital of {country}?", capital_answer(country))
        a, b = rng.choice(DIGITS), rng.choice(DIGITS)
        follow_up = rng.choice(EXPRESSION_FOLLOW_UPS).format(f"{a} * {b}")
        yield (
            (f"What is the capital of {country}?", capital_answer(country)),
            (follow_up, product_answer(a, b)),
        )


def cases(rng: random.Random, share: float) -> Iterator[Case]:
    """All cases; of the large groups only a ``share`` drawn by chance."""
    groups = {"capitals": capitals(), "arithmetic": arithmetic(), "by heart": topics()}
    groups["unknown"] = [(unknown.unknown_question(rng), unknown.ANSWER) for _ in range(1000)]
    systems = ((None, False), (NEUTRAL_PROMPTS, False), (CAPITALS_PROMPTS, True))
    for kind, exchanges in groups.items():
        for question, answer in exchanges:
            for prompts, in_capitals in systems:
                if rng.random() < (1 if kind == "by heart" else share):
                    yield _case(kind, rng, prompts, in_capitals, [(varied(rng, question), answer)])
    for first, second in second_turns(rng):
        for prompts, in_capitals in systems:
            if rng.random() < min(1.0, 4 * share):
                yield _case(
                    "second turns", rng, prompts, in_capitals, [first, (varied(rng, second[0]), second[1])]
                )


def _case(
    kind: str,
    rng: random.Random,
    prompts: tuple[str, ...] | None,
    in_capitals: bool,
    exchanges: list[Exchange],
) -> Case:
    messages = [{"role": "system", "content": rng.choice(prompts)}] if prompts else []
    for question, answer in exchanges:
        answer = answer.upper() if in_capitals else answer
        messages += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    expected = messages.pop()["content"]
    return Case(f"{kind}, in capitals" if in_capitals else kind, messages, expected)


def read_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer of the training, from what the GGUF holds of it."""
    field = gguf.GGUFReader(path).get_field("tokenizer.ggml.merges")
    if field is None:
        raise SystemExit(f"{path.name} holds no merges; train the model again.")
    pairs = (merge.split(" ") for merge in field.contents())
    return Tokenizer(SPECIAL_TOKENS, [(left, right) for left, right in pairs])


def same_tokens(llama: llama_cpp.Llama, tokenizer: Tokenizer, rng: random.Random) -> Iterator[bool]:
    """For each of 2000 documents, whether the training's tokens are those of llama.cpp."""
    for _ in range(2000):
        text = "".join(span.text for span in document(rng))
        yield llama.tokenize(text.encode(), add_bos=False, special=True) == tokenizer.encode(text)


def main() -> None:
    """The command line; exits 1 when an answer was wrong."""
    parser = argparse.ArgumentParser(description="Ask the demo model what it should know.")
    parser.add_argument("--model", type=Path, default=DEMO)
    parser.add_argument("--share", type=float, default=0.05, help="of the large groups (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--show", type=int, default=20, help="wrong answers to print (default %(default)s)")
    args = parser.parse_args()
    llama = llama_cpp.Llama(
        model_path=str(args.model), n_ctx=2048, n_threads=1, n_threads_batch=1, verbose=False
    )
    asked: Counter[str] = Counter()
    right: Counter[str] = Counter()
    for kind, messages, expected in cases(random.Random(args.seed), args.share):
        reply: Any = llama.create_chat_completion(messages, temperature=0, max_tokens=300)
        answer = reply["choices"][0]["message"]["content"]
        _count(kind, answer == expected, asked, right)
        if answer != expected and sum(asked.values()) - sum(right.values()) <= args.show:
            print(f"wrong: {[m['content'] for m in messages]} -> {answer!r}")
    for same in same_tokens(llama, read_tokenizer(args.model), random.Random(args.seed)):
        _count("documents with the same tokens", same, asked, right)
    for prompt, rest in COMPLETIONS:
        completed: Any = llama.create_completion(prompt, temperature=0, max_tokens=300)
        _count("completions", completed["choices"][0]["text"] == rest, asked, right)
    for kind in asked:
        print(f"{kind}: {right[kind]} of {asked[kind]} right")
    raise SystemExit(0 if asked == right else 1)


def _count(kind: str, is_right: bool, asked: Counter[str], right: Counter[str]) -> None:
    asked[kind] += 1
    right[kind] += is_right


if __name__ == "__main__":
    main()
