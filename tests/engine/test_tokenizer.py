"""Texts that are read in pieces have the tokens of texts that are read whole, and what is known is not read again."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import llama_cpp
import pytest

from api_host.engine.engine import Engine
from api_host.engine.llama.tokenizer import LONGEST, SHORTEST, Tokenizer
from api_host.engine.loader import load_model
from api_host.engine.messages import Generate, Load, Piece
from api_host.generation import GenerationRequest, Message, SamplingParams
from api_host.models.demo import DEMO_MODEL_PATH
from tests.fakes.llama_source import LLAMA_SOURCE, MISSING, ROOT
from tests.fakes.vocabularies import of_pieces

# Those that llama.cpp's source carries: of 19 models, made in each of its ways.
CARRIED = sorted((LLAMA_SOURCE / "models").glob("ggml-vocab-*.gguf"))

WORDS = [
    "the",
    "a",
    "of",
    "it's",
    "don't",
    "x1",
    "Paris",
    "I",
    "AND",
    "foo_bar",
    "e.g.",
    "ﬁ",
    "ß",
    "naïve",
    "中文字",
    "слово",
]
MARKS = [
    "\n",
    "  ",
    "\t",
    "\n\n",
    "<s>",
    "</s>",
    "<|im_start|>",
    "<|user|>",
    "1234",
    "▁",
    "Ġ",
    "😀",
    "...",
    "{",
    "});",
]
PIECES = ["▁a", "▁b", "▁ab", "ab", "a", "b", "▁"]


@contextmanager
def vocabulary(path: Path) -> Iterator[Any]:
    params = llama_cpp.llama_model_default_params()
    params.vocab_only = True
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), params)
    assert model
    yield llama_cpp.llama_model_get_vocab(model)
    llama_cpp.llama_model_free(model)


def whole(vocab: Any, text: str, add_special: bool, parse_special: bool) -> list[int]:
    data = text.encode()
    tokens = (llama_cpp.llama_token * (2 * len(data) + 8))()
    n_tokens = llama_cpp.llama_tokenize(
        vocab, data, len(data), tokens, len(tokens), add_special, parse_special
    )
    return tokens[:n_tokens]


def texts(seed: int) -> Iterator[str]:
    """Prose, code, and what nobody writes, with letters around most spaces and without."""
    chance = random.Random(seed)
    yield (ROOT / "docs/architecture.md").read_text()
    yield Path(__file__).read_text()
    for n_words in (300, 1000):
        yield " ".join(chance.choices(WORDS, k=n_words))
        yield " ".join(chance.choices(WORDS + MARKS, k=n_words))
        yield "".join(chance.choice(" abcABCé中0.\n<|>") for _ in range(4 * n_words))
        yield " " + " ".join(chance.choices("ab", k=2 * n_words)) + " "


def check(vocab: Any, tokenizer: Tokenizer) -> None:
    for text in texts(1):
        for add_special in (True, False):
            for parse_special in (True, False):
                read = tokenizer.tokens(text, add_special, parse_special)
                assert read.tolist() == whole(vocab, text, add_special, parse_special)
                assert tokenizer.fewest(text) <= len(read)


@contextmanager
def counting(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The texts that llama.cpp is given meanwhile."""
    given: list[str] = []
    tokenize = llama_cpp.llama_tokenize

    def noting(vocab: Any, data: bytes, *rest: Any) -> int:
        given.append(data.decode())
        return int(tokenize(vocab, data, *rest))

    with monkeypatch.context() as patch:
        patch.setattr(llama_cpp, "llama_tokenize", noting)
        yield given


def test_the_demo_model_reads_pieces_as_it_reads_the_whole():
    with vocabulary(DEMO_MODEL_PATH) as vocab:
        check(vocab, Tokenizer(vocab))


def test_the_fewest_tokens_of_a_text_are_known_before_it_is_read(monkeypatch: pytest.MonkeyPatch):
    with vocabulary(DEMO_MODEL_PATH) as vocab:
        tokenizer = Tokenizer(vocab)
        with counting(monkeypatch) as given:
            assert tokenizer.fewest("a word and another " * 100_000) > 10_000
        assert not given


@pytest.mark.skipif(not CARRIED, reason=MISSING)
@pytest.mark.parametrize("path", CARRIED, ids=lambda path: path.stem.removeprefix("ggml-vocab-"))
def test_a_model_reads_pieces_as_it_reads_the_whole(path: Path, monkeypatch: pytest.MonkeyPatch):
    with vocabulary(path) as vocab:
        tokenizer = Tokenizer(vocab)
        check(vocab, tokenizer)
        with counting(monkeypatch) as given:
            tokenizer.tokens("the cat sat on the mat and looked at me " * 100, True)
        assert max(map(len, given)) < 2 * SHORTEST


@pytest.mark.parametrize("space_first", [True, False])
def test_a_space_that_is_written_before_every_text_is_not_written_before_pieces(
    tmp_path: Path, space_first: bool
):
    with vocabulary(of_pieces(tmp_path / "v.gguf", PIECES, space_first=space_first)) as vocab:
        check(vocab, Tokenizer(vocab))


@pytest.mark.parametrize(
    ("pieces", "looked_for"),
    [(["b▁a", *PIECES], ()), (PIECES, ("b a",)), (PIECES, ("a",)), (PIECES, (" b",)), (PIECES, (" ",))],
    ids=["reaches over", "looked for: reaches over", "begins there", "ends there", "is the space"],
)
def test_a_vocabulary_with_a_token_at_cuts_has_its_texts_read_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pieces: list[str], looked_for: tuple[str, ...]
):
    with vocabulary(of_pieces(tmp_path / "v.gguf", pieces, looked_for)) as vocab:
        tokenizer = Tokenizer(vocab)
        check(vocab, tokenizer)
        with counting(monkeypatch) as given:
            tokenizer.tokens("a b " * SHORTEST, True)
        assert given == ["a b " * SHORTEST]


def test_of_a_text_that_goes_on_only_the_end_is_read(monkeypatch: pytest.MonkeyPatch):
    said = " ".join(random.Random(2).choices(WORDS[:8], k=2000))
    with vocabulary(DEMO_MODEL_PATH) as vocab:
        tokenizer = Tokenizer(vocab)
        before = tokenizer.tokens(said, True)
        with counting(monkeypatch) as given:
            after = tokenizer.tokens(said + " and so it went on", True)
    assert after[: len(before) - 1] == before[:-1]
    assert 0 < sum(map(len, given)) < 2 * SHORTEST


def test_a_text_without_a_place_to_cut_is_not_kept(monkeypatch: pytest.MonkeyPatch):
    with vocabulary(DEMO_MODEL_PATH) as vocab:
        tokenizer = Tokenizer(vocab)
        text = "the cat " * SHORTEST + "0" * 2 * LONGEST
        tokenizer.tokens(text, True)
        with counting(monkeypatch) as given:
            tokenizer.tokens(text, True)
    assert len(given) == 1
    assert given[0].endswith("0")


def test_a_text_may_have_more_tokens_than_bytes(tmp_path: Path):
    with vocabulary(of_pieces(tmp_path / "v.gguf", PIECES, ("a",))) as vocab:
        tokens = Tokenizer(vocab).tokens("ab" * 100, True)
        assert tokens.tolist() == whole(vocab, "ab" * 100, True, True)
        assert len(tokens) > 200


def test_nothing_of_a_text_is_read_ahead_where_texts_are_read_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with (
        vocabulary(of_pieces(tmp_path / "v.gguf", ["b▁a", *PIECES])) as vocab,
        counting(monkeypatch) as given,
    ):
        assert not [*Tokenizer(vocab).read_ahead("a b " * SHORTEST)]
    assert not given


@pytest.fixture
def engine() -> Iterator[Engine]:
    load = Load(str(DEMO_MODEL_PATH), n_ctx=1024, n_slots=2, n_threads=1)
    loaded = load_model(load)
    yield Engine(loaded, load)
    loaded.context.close()
    loaded.model.close()


def answer(engine: Engine, inputs: str | list[Message]) -> str:
    """The engine's answer of 200 tokens."""
    sampling = SamplingParams(max_tokens=200, temperature=0, ignore_eos=True)
    engine.take(Generate(1, GenerationRequest(inputs, sampling=sampling)))
    said: list[str] = []
    while engine.has_work:
        engine.step()
        said += [event.text for event in engine.take_events() if isinstance(event, Piece)]
    return "".join(said)


@pytest.mark.parametrize("is_chat", [False, True])
def test_while_nobody_asks_an_answer_is_read_for_the_next_turn(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, is_chat: bool
):
    assert not engine.read_ahead()
    asked = "Tell me about the capital of France and what the cat saw there. " * 5
    turn = [Message("user", asked)]
    said = answer(engine, turn if is_chat else asked)
    n_read = 0
    while engine.read_ahead():
        n_read += 1
    assert n_read >= (len(asked) + len(said)) // (2 * SHORTEST)
    more = [*turn, Message("assistant", said), Message("user", "And then?")]
    with counting(monkeypatch) as given:
        answer(engine, more if is_chat else asked + said + " And then?")
    assert len(said) > 3 * SHORTEST
    assert sum(map(len, given)) < 2 * SHORTEST + len("And then?")


def test_a_request_that_comes_while_the_last_one_is_read_ahead_is_answered(engine: Engine):
    asked = "A cat sat on the mat and looked at me. " * 20
    answer(engine, asked)
    assert engine.read_ahead()
    assert answer(engine, asked) == answer(engine, asked)
