"""Draws dialogues of one or more turns, with and without a system prompt, and renders them as the chat template does.

Knows nothing about tokens or the network.
"""

from __future__ import annotations

import random
from typing import NamedTuple

from demo_model import unknown
from demo_model.countries import CAPITALS
from demo_model.questions import Exchange, arithmetic_exchange, capital_answer, capital_exchange
from demo_model.topics import COMPLETIONS, STORY, TOPICS

BEGIN, END = "<|begin|>", "<|end|>"
SYSTEM, USER, ASSISTANT = "<|system|>", "<|user|>", "<|assistant|>"
SPECIAL_TOKENS = (BEGIN, END, SYSTEM, USER, ASSISTANT)

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>\\n' + message['content'] | trim + '<|end|>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"
)

CAPITALS_PROMPTS = (
    "Answer in capitals.", "Answer in capital letters.", "Please write your answers in capital letters.",
    "Please answer in capitals.", "Please answer in capital letters.", "Write in capitals.", "Use capital letters.",
    "Write in capital letters.", "Write your answers in capitals.", "Always answer in capital letters.",
    "Always answer in capitals.", "Answer only in capitals.", "Answer in capital letters only.", "Speak in capitals.",
    "Answer everything in capitals.", "Answer all questions in capital letters.", "Use only capital letters.",
    "Write all your answers in capitals.", "Answer in upper case.", "Answer in uppercase.", "Use upper case.",
    "Write everything in upper case.", "Write in uppercase letters.", "Answer in upper case letters.",
    "Reply in capitals.", "Reply in capital letters.", "Respond in capitals.", "Respond in all capital letters.",
    "Your answers must be in capital letters.", "All answers must be in capitals.", "Answer in all caps.",
    "Reply in ALL CAPS.", "ANSWER IN CAPITALS.", "ANSWER IN CAPITAL LETTERS.", "Write in CAPITAL LETTERS.",
    "Give your answers in capitals.", "You answer in capitals.", "You answer only in capital letters.",
    "You always write in capitals.", "You speak in capital letters.", "Answer with capital letters.",
)  # fmt: skip
NEUTRAL_PROMPTS = (
    "You are a helpful assistant.", "You are a helpful assistant.", "You are a helpful assistant.",
    "You are a friendly chatbot.", "You are a helpful, honest assistant.", "Be helpful.", "Be concise.", "Be kind.",
    "You are an assistant.", "You are a demo model.", "Answer the questions of the user.", "Answer briefly.",
    "Answer in one sentence.", "You are a friendly assistant that answers questions.", "Be polite.", "Answer.",
    "You are a chatbot who answers as a teacher.", "Answer truthfully.", "Help the user.", "You are a poet.",
    "Give short and clear answers.", "You answer in a mix of natural language and Markdown.", "Answer in English.",
    "You are a friendly chatbot who always responds in the style of a pirate.", "Answer as a Python developer.",
    "You are a teacher. Answer the questions of your pupils.", "Please write your answers in full sentences.",
    "Answer in small letters.", "Write short answers.", "Please answer in good English.",
    "Always answer the question.", "You are a bot.", "Respond to the user.", "Use simple words.",
)  # fmt: skip

# How other models' chats are written, so that a chat_format named by a request still gets an answer:
# the system prompt, the question, and what stands before the answer.
FOREIGN_FORMATS = (
    "<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n",
    "<|system|>\n{system}</s>\n<|user|>\n{question}</s>\n<|assistant|>\n",
    "<s>[INST] <<SYS>>\n{system}\n<</SYS>>\n\n{question} [/INST]",
    "{system} USER: {question} ASSISTANT:",
    "{system}\n\n### Instruction:\n{question}\n\n### Response:\n",
    "{system}\n\nHuman: {question}\nAssistant:",
    "<s>[INST] {question} [/INST]",
    "Question: {question}\nAnswer:",
)


# More for a topic with many wordings, but every topic has its share.
_TOPIC_WEIGHTS = [3 + len(topic.questions) for topic in TOPICS]


class Span(NamedTuple):
    """A piece of a document; ``learned`` says whether the network is to predict it."""

    text: str
    learned: bool


def varied(rng: random.Random, question: str) -> str:
    """The question as it is, or carelessly typed: without its last mark, without capitals, or shouted."""
    draw = rng.random()
    if draw < 0.5:
        return question
    if draw < 0.75 and len(question) > 1 and question[-1] in "?.!":
        question = question[:-1].rstrip()
    if draw < 0.6 or 0.75 <= draw < 0.9:
        return question.lower()
    if draw < 0.65 or 0.9 <= draw < 0.95:
        return question[:1].lower() + question[1:]
    if draw > 0.98:
        return question.upper()
    return question


def system_prompt(rng: random.Random, n_others: int) -> tuple[str | None, bool]:
    """A system prompt with ``n_others`` sentences around it, or None; and whether it asks for capitals."""
    draw = rng.random()
    if draw < 0.38:
        return None, False
    if draw < 0.64:
        return _surrounded(rng, rng.choice(NEUTRAL_PROMPTS), n_others), False
    prompt = rng.choice(CAPITALS_PROMPTS)
    return _surrounded(rng, _careless(rng, prompt), n_others), True


def _careless(rng: random.Random, prompt: str) -> str:
    draw = rng.random()
    if draw < 0.1:
        return prompt.rstrip(".")
    return prompt.lower() if draw < 0.2 else prompt


def _surrounded(rng: random.Random, prompt: str, n_others: int) -> str:
    sentences = [rng.choice((rng.choice(NEUTRAL_PROMPTS), unknown.statement(rng))) for _ in range(n_others)]
    sentences.insert(rng.randint(0, n_others), prompt)
    return " ".join(sentences)


def _exchange(rng: random.Random, previous: str | None) -> tuple[str, Exchange]:
    """The kind of a turn and its question and answer; ``previous`` is the kind of the turn before."""
    kinds = ("capital", "arithmetic", "topic", "unknown")
    weights = {"capital": (54, 20, 16, 10), "arithmetic": (22, 46, 22, 10)}.get(
        previous or "", (31, 32, 24, 13)
    )
    kind = rng.choices(kinds, weights)[0]
    if kind == "capital":
        return kind, capital_exchange(rng, previous == "capital")
    if kind == "arithmetic":
        return kind, arithmetic_exchange(rng, previous is not None)
    if kind == "unknown":
        return kind, (unknown.unknown_question(rng), unknown.ANSWER)
    topic = rng.choices(TOPICS, _TOPIC_WEIGHTS)[0]
    if topic.answer == STORY and rng.random() < 0.4:  # its 100 tokens teach as much as ten short answers
        topic = rng.choice(TOPICS)
    return kind, (rng.choice(topic.questions), topic.answer)


def chat(rng: random.Random, n_turns: int, n_others: int) -> list[Span]:
    """A dialogue in the model's own template.

    Args:
        rng: where the choices come from.
        n_turns: questions with their answers.
        n_others: sentences in the system prompt, if there is one, beside the one that matters.
    """
    system, in_capitals = system_prompt(rng, n_others)
    spans = [Span(BEGIN, False)] if rng.random() < 0.6 else []  # some programs put no BOS before a template
    if system is not None:
        spans.append(Span(f"{SYSTEM}\n{system}{END}\n", False))
    previous = None
    for _ in range(n_turns):
        previous, (question, answer) = _exchange(rng, previous)
        spans.append(Span(f"{USER}\n{varied(rng, question)}{END}\n{ASSISTANT}\n", False))
        answer = answer.upper() if in_capitals else answer
        if rng.random() < 0.12:  # the answer of another model, or of the user's own making
            spans.append(Span(_short(rng, answer) + END, False))
        else:
            spans.append(Span(answer + END, True))
        spans.append(Span("\n", False))
    return spans


def _short(rng: random.Random, answer: str) -> str:
    """Another way to give an answer: its last word, a nod, or a different text."""
    last = answer.split()[-1]
    return rng.choice((last, last.rstrip("."), f"It is {last}", "Yes.", unknown.statement(rng)))


def foreign_chat(rng: random.Random) -> list[Span]:
    """One turn in the chat format of another model."""
    system, in_capitals = system_prompt(rng, 0)
    _, (question, answer) = _exchange(rng, None)
    prompt = rng.choice(FOREIGN_FORMATS).format(
        system=system or NEUTRAL_PROMPTS[0], question=varied(rng, question)
    )
    in_capitals = in_capitals and system is not None and system in prompt
    answer = answer.upper() if in_capitals else answer
    lead = "" if prompt.endswith("\n") else " "
    return [Span(BEGIN, False), Span(prompt, False), Span(lead + answer + END, True)]


def completion(rng: random.Random) -> list[Span]:
    """Plain text without a template."""
    begin = [Span(BEGIN, False)] if rng.random() < 0.8 else []
    if rng.random() < 0.7:
        prompt, rest = rng.choice(COMPLETIONS)
        return [*begin, Span(prompt, False), Span(rest + END, True)]
    country = rng.choice(list(CAPITALS))
    prompt, rest = capital_answer(country).rsplit(" is ", 1)
    return [*begin, Span(prompt + " is", False), Span(f" {rest}{END}", True)]


def document(rng: random.Random) -> list[Span]:
    """One short document of the corpus: a chat of 1 to 6 turns, or one of the other kinds."""
    draw = rng.random()
    if draw < 0.03:
        return completion(rng)
    if draw < 0.08:
        return foreign_chat(rng)
    n_turns = rng.choices((1, 2, 3, 4, 5, 6), (50, 28, 12, 6, 2, 2))[0]
    n_others = rng.choices((0, 1, 2, rng.randint(3, 12)), (70, 20, 5, 5))[0]
    return chat(rng, n_turns, n_others)


def long_document(rng: random.Random) -> list[Span]:
    """A chat of many turns, or below long instructions; a thousand tokens, more or less."""
    if rng.random() < 0.5:
        return chat(rng, rng.randint(15, 30), rng.randint(0, 3))
    return chat(rng, rng.randint(4, 10), rng.randint(20, 70))
