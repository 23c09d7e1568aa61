"""A model's text in its parts: every family's calls, reasoning, and any way of cutting the text into pieces."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from typing import Any

import pytest

from api_host.web.output import (
    CallArguments,
    CallStarted,
    OutputParser,
    Part,
    Reasoning,
    Text,
)

WEATHER = '{"city": "Paris", "days":  [1, 2.5e3, null, true]}'
HERMES = f'<tool_call>\n{{"name": "weather", "arguments": {WEATHER}}}\n</tool_call>'
HERMES_TIME = '<tool_call>{"arguments": {"zone": "a \\"}]{ b"}, "name": "time"}</tool_call>'
LLAMA = f'{{"name": "weather", "parameters": {WEATHER}}}'
MISTRAL = (
    f'[TOOL_CALLS][{{"name": "weather", "arguments": {WEATHER}}}, {{"name": "time", "arguments": {{}}}}]'
)
MISTRAL_NEW = f"[TOOL_CALLS]weather[ARGS]{WEATHER}[TOOL_CALLS]time[CALL_ID]a1B2c3D4e[ARGS]{{}}"


def call(index: int, name: str, arguments: str) -> list[tuple[Any, ...]]:
    return [("call", index, name), ("arguments", index, arguments)]


PARIS = call(0, "weather", WEATHER)
TIME = '{"zone": "a \\"}]{ b"}'

# What a model writes, and what it means when tools are looked for.
SAMPLES: dict[str, tuple[str, list[tuple[Any, ...]]]] = {
    "text": ("Hello <b>you</b> [TOOL", [("text", "Hello <b>you</b> [TOOL")]),
    "text with blanks": ("\n Hello\n ", [("text", "\n Hello\n ")]),
    "nothing but blanks": (" \n", [("text", " \n")]),
    "nothing": ("", []),
    "hermes": (HERMES, PARIS),
    "hermes, several": (f"{HERMES}\n{HERMES_TIME}\n", PARIS + call(1, "time", TIME)),
    "hermes after text": (f"Let me see.\n{HERMES}", [("text", "Let me see.\n"), *PARIS]),
    "hermes before text": (f"{HERMES}\nDone.", [*PARIS, ("text", "\nDone.")]),
    "hermes, no closing tag": (HERMES.removesuffix("</tool_call>"), PARIS),
    "hermes, two in a tag": (
        f"<tool_call>{LLAMA}\n{LLAMA}</tool_call>",
        PARIS + call(1, "weather", WEATHER),
    ),
    "hermes, a list": (f"<tool_call>[{LLAMA}]</tool_call>", PARIS),
    "hermes, arguments as text": (
        '<tool_call>{"name": "f", "arguments": "{\\"a\\": 1}"}</tool_call>',
        call(0, "f", '{"a": 1}'),
    ),
    "hermes, bare line breaks in a string": (
        '<tool_call>{"name": "f", "arguments": {\n"a": "b\n\tc"}}</tool_call>',
        call(0, "f", '{\n"a": "b\\n\\tc"}'),
    ),
    "hermes, bare line breaks in arguments as text": (
        '<tool_call>{"name": "f", "arguments": "{\\"a\\":\\n \\"b\\nc\\"}"}</tool_call>',
        call(0, "f", '{"a":\n "b\\nc"}'),
    ),
    "hermes, half a surrogate pair, and a whole one": (
        '<tool_call>{"name": "f", "arguments": {"\\ud83d": "\\ud83d\\ude00\\uDE00\\\\ud83d\\n"}}</tool_call>',
        call(0, "f", '{"\\ufffd": "\\ud83d\\ude00\\ufffd\\\\ud83d\\n"}'),
    ),
    "hermes, half a character in the name": (
        '<tool_call>{"name": "f\\ud83d", "arguments": {}}</tool_call>',
        call(0, "f\ufffd", "{}"),
    ),
    "hermes, no arguments": ('<tool_call>{"name": "f"}</tool_call>', call(0, "f", "{}")),
    "hermes, null": ('<tool_call>{"name": "f", "arguments": null}</tool_call>', call(0, "f", "{}")),
    "hermes, further keys": (
        '<tool_call>{"type": "function", "id": 7, "name": "f", "arguments": {"a":"\\u00e9\\n"}, "index": 0}'
        "</tool_call>",
        call(0, "f", '{"a":"\\u00e9\\n"}'),
    ),
    "hermes, no brace at the end": (
        '<tool_call>{"name": "f", "arguments": {"a": 1}</tool_call>',
        call(0, "f", '{"a": 1}'),
    ),
    "hermes, not JSON": ("<tool_call>nothing</tool_call>", [("text", "<tool_call>nothing</tool_call>")]),
    "hermes, python's quotes": (
        "<tool_call>{'name': 'f', 'arguments': {}}</tool_call>",
        [("text", "<tool_call>{'name': 'f', 'arguments': {}}</tool_call>")],
    ),
    "hermes, python's quotes in the arguments": (
        '<tool_call>{"name": "f", "arguments": {\'a\': 1}}</tool_call>',
        [("text", '<tool_call>{"name": "f", "arguments": {\'a\': 1}}</tool_call>')],
    ),
    "hermes, a call behind a broken one": (
        f"<tool_call>oh {HERMES}",
        [("text", "<tool_call>oh "), *PARIS],
    ),
    "hermes, cut in the name": ('<tool_call>{"name": "wea', [("text", '<tool_call>{"name": "wea')]),
    "hermes, cut before the arguments": (
        '<tool_call>{"name": "f", "arguments": {',
        [("text", '<tool_call>{"name": "f", "arguments": {')],
    ),
    "hermes, cut in the arguments": (
        '<tool_call>{"name": "f", "arguments": {"a": "b\\',
        call(0, "f", '{"a": "b\\'),
    ),
    "llama": (LLAMA, PARIS),
    "llama, several": (f" {LLAMA}; {LLAMA}", PARIS + call(1, "weather", WEATHER)),
    "llama, semicolon and text": (f"{LLAMA}; bye", [*PARIS, ("text", "; bye")]),
    "llama, python tag": (f"<|python_tag|>{LLAMA}", PARIS),
    "llama, python code": ("<|python_tag|>print(1)", [("text", "<|python_tag|>print(1)")]),
    "llama, arguments first": ('{"parameters": {"a": 1}, "name": "f"}', call(0, "f", '{"a": 1}')),
    "llama, a list": (f"[{LLAMA}]", PARIS),
    "llama, after text": (f"I say {LLAMA}", [("text", f"I say {LLAMA}")]),
    "json, no call": ('{"name": "Bob", "age": 5}', [("text", '{"name": "Bob", "age": 5}')]),
    "json, a name alone": ('{"name": "Bob"}', [("text", '{"name": "Bob"}')]),
    "json, a list": ('["a", {"b": 1}] ', [("text", '["a", {"b": 1}] ')]),
    "json, an empty object": ("{}", [("text", "{}")]),
    "json, then a call": (f"[1] {HERMES}", [("text", "[1] "), *PARIS]),
    "mistral": (MISTRAL, PARIS + call(1, "time", "{}")),
    "mistral after text": (f"So: {MISTRAL}", [("text", "So: "), *PARIS, *call(1, "time", "{}")]),
    "mistral, second broken": (
        '[TOOL_CALLS][{"name": "f", "arguments": {}}, {"name": 5}]',
        [*call(0, "f", "{}"), ("text", ', {"name": 5}]')],
    ),
    "mistral, new": (MISTRAL_NEW, PARIS + call(1, "time", "{}")),
    "mistral, no marker of arguments": ('[TOOL_CALLS]f{"a": 1}', call(0, "f", '{"a": 1}')),
    "mistral, no call": ("[TOOL_CALLS] of [1]", [("text", "[TOOL_CALLS] of [1]")]),
    "thinking": ("<think>\nI see. \n</think>\n\nYes", [("reasoning", "I see."), ("text", "Yes")]),
    "thinking, then a call": (
        f"\n<think>a < b</thin </think>{HERMES}",
        [("reasoning", "a < b</thin"), *PARIS],
    ),
    "thinking of a call": (f"<think>{HERMES}</think>", [("reasoning", HERMES)]),
    "thinking nothing": ("<think>\n\n</think>\n\nYes", [("text", "Yes")]),
    "thinking, cut": ("<think>so \n", [("reasoning", "so \n")]),
    "thinking, magistral": ("[THINK]so[/THINK]Yes", [("reasoning", "so"), ("text", "Yes")]),
    "thinking, gemma": (
        "<|channel>thought\nso\n<channel|>Yes",
        [("reasoning", "so"), ("text", "Yes")],
    ),
    "a tag further on": ("Use <think> so </think>", [("text", "Use <think> so </think>")]),
}


def read(pieces: Iterable[str], **options: Any) -> list[Part]:
    parser = OutputParser(**{"tools": True, **options})
    return [part for piece in pieces for part in parser.feed(piece)] + parser.finish()


def joined(parts: Iterable[Part]) -> list[tuple[Any, ...]]:
    """The parts as plain rows, those of one kind joined where they are neighbours."""
    rows: list[tuple[Any, ...]] = []
    for part in parts:
        match part:
            case CallStarted():
                rows.append(("call", part.index, part.name))
                continue
            case CallArguments():
                row: tuple[Any, ...] = ("arguments", part.index, part.text)
            case Text():
                row = ("text", part.text)
            case Reasoning():
                row = ("reasoning", part.text)
        assert row[-1]
        if rows and rows[-1][:-1] == row[:-1]:
            row = (*row[:-1], rows.pop()[-1] + row[-1])
        rows.append(row)
    return rows


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_means_the_same_however_it_is_cut(name: str) -> None:
    text, expected = SAMPLES[name]
    assert joined(read([text])) == expected
    assert joined(read(text)) == expected
    for first in range(len(text) + 1):
        assert joined(read([text[:first], text[first:]])) == expected, text[:first]
        assert joined(read([text[:first], "", text[first : first + 2], text[first + 2 :]])) == expected


@pytest.mark.parametrize("name", SAMPLES)
def test_every_beginning_of_a_sample_means_the_same_however_it_is_cut(name: str) -> None:
    text = SAMPLES[name][0]
    for end in range(len(text)):
        assert joined(read([text[:end]])) == joined(read(text[:end]))


@pytest.mark.parametrize("seed", range(20))
def test_samples_and_marks_in_any_order_mean_the_same_however_they_are_cut(seed: int) -> None:
    random = Random(seed)
    marks = [
        "<tool_call>",
        "[TOOL_CALLS]",
        "<think>",
        "</think>",
        "[THINK]",
        ";",
        '"',
        "{",
        "]",
        "\\",
        "\n ",
        "é😀",
    ]
    for _ in range(50):
        pieces = random.choices([*marks, *(text for text, _ in SAMPLES.values())], k=random.randint(1, 5))
        text = "".join(
            piece[: random.choice([len(piece), random.randint(0, len(piece))])] for piece in pieces
        )
        ends = sorted(random.choices(range(len(text) + 1), k=random.randint(1, 30)))
        cut = [text[start:end] for start, end in zip([0, *ends], [*ends, len(text)], strict=True)]
        options = {"forced": random.random() < 0.1, "prompt": random.choice([None, "<think>\n"])}
        assert joined(read(cut, **options)) == joined(read([text], **options)), (cut, options)


def test_without_tools_what_looks_like_a_call_is_text_and_goes_out_at_once() -> None:
    for text in (HERMES, LLAMA, MISTRAL, MISTRAL_NEW):
        parser = OutputParser(tools=False, reasoning=False)
        assert [parser.feed(character) for character in text] == [[Text(character)] for character in text]
        assert parser.finish() == []


def test_without_reasoning_its_tags_are_text() -> None:
    assert joined(read("<think>a</think> b", reasoning=False)) == [("text", "<think>a</think> b")]


def test_text_goes_out_but_for_a_tail_that_may_begin_a_marker() -> None:
    parser = OutputParser(tools=True)
    assert parser.feed("See: <tool") == [Text("See: ")]
    assert parser.feed("box> and [TOOL_") == [Text("<toolbox> and ")]
    assert parser.feed("BOX]") == [Text("[TOOL_BOX]")]
    assert parser.feed(" so") == [Text(" so")]


def test_arguments_go_out_as_they_arrive() -> None:
    parser = OutputParser(tools=True)
    assert parser.feed('<tool_call>{"name": "f", "arguments": {') == []
    started, arguments = parser.feed(' "a": "so')
    assert isinstance(started, CallStarted) and (started.index, started.name) == (0, "f")
    assert started.id.startswith("call_") and len(started.id) == 29
    assert arguments == CallArguments(0, '{ "a": "so')
    assert parser.feed(' far"') == [CallArguments(0, ' far"')]
    assert parser.feed("}") == [CallArguments(0, "}")]
    assert parser.feed("}</tool_call>") == []
    assert parser.finish() == []


def test_the_template_may_have_opened_the_reasoning() -> None:
    prompt = "<|im_start|>assistant\n<think>\n"
    for text in ("I see.\n</think>\n\nYes", "<think>\nI see.\n</think>\n\nYes"):
        assert joined(read(text, prompt=prompt)) == [("reasoning", "I see."), ("text", "Yes")]
        assert joined(read([text], prompt=prompt)) == joined(read(text, prompt=prompt))
    assert joined(read("never closed", prompt=prompt)) == [("reasoning", "never closed")]
    assert joined(read("Yes", prompt="<think>\n\n</think>\n\n")) == [("text", "Yes")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"name": "weather", "arguments": ' + WEATHER + "}", PARIS),
        ('[{"name": "weather", "arguments": ' + WEATHER + '}, {"name": "f", "arguments": {}}] ', None),
        ('{"name": "wea', [("text", '{"name": "wea')]),
        ('[{"name": "weather", "arguments": ' + WEATHER + '}, {"name": "wea', PARIS),
    ],
)
def test_a_forced_call_is_read_whatever_the_template_has_opened(text: str, expected: Any) -> None:
    expected = PARIS + call(1, "f", "{}") if expected is None else expected
    for end in range(len(text) + 1):
        pieces = [text[:end], text[end:]]
        assert joined(read(pieces, forced=True, prompt="<think>")) == expected


def test_what_is_nested_too_deeply_is_text() -> None:
    text = f'<tool_call>{{"name": "f", "arguments": {"[" * 3000}{"]" * 3000}}}</tool_call>'
    assert joined(read([text])) == [("text", text)]


def test_ids_differ() -> None:
    ids = [part.id for part in read(MISTRAL) if isinstance(part, CallStarted)]
    assert len(set(ids)) == 2


def test_long_arguments_take_time_in_proportion() -> None:
    text = '<tool_call>{"name": "f", "arguments": {"a": "' + "x" * 50_000 + '"}}</tool_call>'
    assert len(joined(read(text))[1][2]) == 50_000 + len('{"a": ""}')
