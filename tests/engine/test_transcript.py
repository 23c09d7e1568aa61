"""The text of a sequence: made of tokens when somebody takes it, and never half of a character or of a stop string."""

from __future__ import annotations

from collections.abc import Sequence

from api_host.engine.detokenizer import Detokenizer
from api_host.engine.messages import Piece
from api_host.engine.transcript import Transcript
from api_host.generation import TokenLogprob

WORDS = [b"one", b" two", b" three", b"\xe2\x82", b"\xac"]


class Words:
    """Bytes of tokens, which are numbers of words; counts how often it is asked."""

    def __init__(self) -> None:
        self.n_asked = 0

    def __call__(self, token: int) -> bytes:
        self.n_asked += 1
        return WORDS[token]


def transcript(*stop: str, kept: Sequence[str] = ()) -> tuple[Transcript, Words]:
    words = Words()
    return Transcript(7, 1, Detokenizer(stop, kept), words), words


def test_text_is_made_of_several_tokens_when_it_is_taken():
    text, words = transcript()
    assert [text.add(token) for token in (0, 1, 2)] == [False] * 3
    assert (words.n_asked, text.begun) == (0, False)
    assert text.take() == Piece(7, 1, "one two three", 3)
    assert text.begun
    assert text.take() is None


def test_half_a_character_is_no_text_and_its_token_is_counted_with_the_other_half():
    text, _ = transcript()
    text.add(3)
    assert text.take() is None
    assert not text.begun
    text.add(4)
    assert text.take() == Piece(7, 1, "\u20ac", 2)


def test_a_stop_string_is_found_at_once():
    text, _ = transcript("two")
    assert not text.add(0)
    assert text.add(1)
    assert text.finish("stop") == Piece(7, 1, "one ", 2, "stop")


def test_what_could_begin_a_stop_string_is_held_back_until_the_end():
    text, _ = transcript(" two hundred")
    text.add(0)
    text.add(1)
    assert text.take() == Piece(7, 1, "one", 2)
    assert text.finish("length") == Piece(7, 1, " two", 0, "length")


def test_logprobs_travel_with_their_tokens():
    text, _ = transcript()
    first, second = TokenLogprob("one", -1.0), TokenLogprob(" two", -2.0)
    text.add(0)
    text.note(first)
    text.add(1)
    text.note(second)
    piece = text.take()
    assert piece is not None and piece.logprobs == [first, second]
    assert text.finish("stop") == Piece(7, 1, "", 0, "stop")
