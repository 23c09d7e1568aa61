"""Text on its way out: whole characters, no part of a stop string."""

from __future__ import annotations

import pytest

from api_host.engine.detokenizer import Detokenizer


def shown(text: str, stop: list[str], size: int) -> tuple[list[str], bool]:
    """The pieces that come out when the text goes in, ``size`` bytes at a time."""
    detokenizer = Detokenizer(stop)
    data = text.encode()
    pieces = []
    for at in range(0, len(data), size):
        pieces.append(detokenizer.push(data[at : at + size]))
        if detokenizer.stopped:
            return pieces, True
    pieces.append(detokenizer.flush())
    return pieces, detokenizer.stopped


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_characters_come_out_whole_at_any_cut(size: int):
    text = "Grüße 🌍 世界 e\u0301"
    pieces, stopped = shown(text, [], size)
    assert "".join(pieces) == text
    assert not stopped
    assert "\ufffd" not in "".join(pieces)


@pytest.mark.parametrize("size", [1, 2, 5, 100])
@pytest.mark.parametrize(
    ("text", "stop", "expected"),
    [
        ("Hello ### there", ["###"], "Hello "),
        ("one</s>two", ["###", "</s>"], "one"),
        ("aab", ["ab"], "a"),
        ("ab###", ["###", "b##"], "a"),
        ("世界。好", ["。"], "世界"),
        ("stop at once", ["stop"], ""),
    ],
)
def test_the_text_ends_before_the_earliest_stop_string(size: int, text: str, stop: list[str], expected: str):
    pieces, stopped = shown(text, stop, size)
    assert "".join(pieces) == expected
    assert stopped


def test_half_a_stop_string_is_held_back_and_shown_when_it_was_none():
    detokenizer = Detokenizer(["<|end|>"])
    assert detokenizer.push(b"a <|en") == "a "
    assert detokenizer.push(b"ding") == "<|ending"
    assert detokenizer.push(b"<|e") == ""
    assert detokenizer.flush() == "<|e"


def test_bytes_that_end_in_the_middle_of_a_character_become_a_replacement_sign():
    detokenizer = Detokenizer()
    assert detokenizer.push("é".encode()[:1]) == ""
    assert detokenizer.flush() == "\ufffd"


def test_an_empty_stop_string_stops_nothing():
    assert "".join(shown("abc", [""], 1)[0]) == "abc"


def test_of_the_stop_strings_only_those_to_be_kept_stay():
    for pieces in (["one", " END"], ["one END two"]):
        kept = Detokenizer([" END", "<eot>"], kept=[" END"])
        assert "".join(kept.push(piece.encode()) for piece in pieces) == "one END"
        assert kept.stopped
    hidden = Detokenizer([" END", "<eot>"], kept=[" END"])
    assert hidden.push(b"one<eot>") == "one"
