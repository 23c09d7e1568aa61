"""Grammars, JSON schemas, n-grams and log-probabilities, on the demo model's real weights."""

from __future__ import annotations

import json
import math
import tracemalloc
from array import array
from collections.abc import Iterator

import msgspec
import pytest

from api_host.engine.bans import NoRepeatNgrams
from api_host.engine.messages import Load, Piece, RequestFinished
from api_host.engine.process import Worker
from api_host.errors import InvalidRequest
from api_host.generation import Message, SamplingParams
from api_host.models.demo import DEMO_MODEL_PATH
from tests.engine.reading import begin, read

# Where a row rounds alike in a batch of any shape; a GPU has other kernels for more rows.
ON_CPU = Load(str(DEMO_MODEL_PATH), n_ctx=1024, n_slots=4, n_threads=1, use_gpu=False)
CAPITAL = [Message("user", "What is the capital of France?")]


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    worker = Worker.start(ON_CPU)
    yield worker
    worker.stop()


def answer(worker: Worker, **sampling: object) -> str:
    params = SamplingParams(**{"max_tokens": 200, "seed": 7, **sampling})  # type: ignore[arg-type]
    return read(begin(worker, CAPITAL, params))[0][0]


@pytest.mark.parametrize("top_k", [1, 40])
def test_a_grammar_holds_the_text_to_its_form(worker: Worker, top_k: int):
    text = answer(worker, grammar='root ::= "The number is " [0-9] [0-9] "."', top_k=top_k)
    assert text[:14] == "The number is "
    assert text[14:16].isdigit()
    assert text[16:] == "."


def test_a_schema_gives_json_that_it_allows(worker: Worker):
    schema = {
        "type": "object",
        "properties": {
            "city": {"type": "string", "maxLength": 12},
            "big": {"type": "boolean"},
            "kind": {"enum": ["capital", "town"]},
        },
        "required": ["city", "big", "kind"],
        "additionalProperties": False,
    }
    for seed in range(5):
        found = json.loads(answer(worker, json_schema=schema, temperature=1.5, top_k=0, seed=seed))
        assert set(found) == {"city", "big", "kind"}
        assert isinstance(found["city"], str)
        assert len(found["city"]) <= 12
        assert isinstance(found["big"], bool)
        assert found["kind"] in ("capital", "town")


@pytest.mark.parametrize(
    ("sampling", "says"),
    [
        ({"grammar": "root ::= ("}, "parameters.grammar"),
        ({"grammar": "nothing ::= 'x'"}, "parameters.grammar"),
        ({"grammar": 'root ::= "a"', "json_schema": {}}, "not both"),
        ({"json_schema": {"$ref": "https://example.invalid/x"}}, "parameters.json_schema"),
        ({"json_schema": {"type": "elephant"}}, "parameters.json_schema"),
    ],
)
def test_what_is_no_grammar_is_refused_and_the_worker_goes_on(worker: Worker, sampling: dict, says: str):
    with pytest.raises(InvalidRequest, match=says):
        answer(worker, **sampling)
    assert "Paris" in answer(worker, top_k=1)


def test_no_ngram_stands_twice(worker: Worker):
    def repeats(**sampling: object) -> bool:
        params = SamplingParams(max_tokens=150, top_k=1, ignore_eos=True, logprobs=0, **sampling)  # type: ignore[arg-type]
        stream = begin(worker, "A cat sat on", params)
        tokens: list[str] = []
        while not isinstance(event := stream.get(30), RequestFinished):
            if isinstance(event, Piece) and event.logprobs:
                tokens += [entry.token for entry in event.logprobs]
        assert len(tokens) == 150
        triples = list(zip(tokens, tokens[1:], tokens[2:], strict=False))
        # Control tokens and parts of characters have no text of their own to be told apart by.
        told_apart = [triple for triple in triples if all(t and "\ufffd" not in t for t in triple)]
        return len(set(told_apart)) < len(told_apart)

    assert repeats()
    assert not repeats(no_repeat_ngram_size=3)


@pytest.mark.parametrize("sampling", [{"top_k": 1}, {"seed": 3, "temperature": 1.5, "top_k": 0}])
def test_guessing_from_the_text_changes_nothing(worker: Worker, sampling: dict):
    guessing = Worker.start(msgspec.structs.replace(ON_CPU, lookup=True))
    params = SamplingParams(max_tokens=300, ignore_eos=True, **sampling)
    texts = [read(begin(one, "A cat sat on", params))[0][0] for one in (worker, guessing)]
    guessing.stop()
    assert texts[0] == texts[1]


def test_ngrams_are_banned_as_transformers_does():
    ngrams = NoRepeatNgrams(2, array("i", [1, 2, 3, 1]))
    assert ngrams.banned == {2}
    ngrams.accept(3)
    assert ngrams.banned == {1}
    assert NoRepeatNgrams(1, array("i", [4, 5])).banned == {4, 5}
    assert NoRepeatNgrams(5, array("i", [1, 2])).banned == set()


def test_long_ngrams_take_no_more_memory_than_short_ones():
    prompt = array("i", range(300, 4300))
    tracemalloc.start()
    ngrams = NoRepeatNgrams(1000, prompt)
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size / len(prompt) < 1000
    for token in prompt[:999]:
        ngrams.accept(token)
    assert ngrams.banned == {prompt[999]}
    ngrams.accept(7)
    assert ngrams.banned == set()


@pytest.mark.parametrize("sampling", [{"top_k": 1}, {"seed": 3}, {"seed": 3, "top_k": 0, "top_p": 1.0}])
def test_a_text_ends_where_all_tokens_are_banned(worker: Worker, sampling: dict):
    params = SamplingParams(max_tokens=900, no_repeat_ngram_size=1, ignore_eos=True, **sampling)
    end = read(begin(worker, CAPITAL, params))[1]
    assert end.usage.completion_tokens < 900


def test_logprobs_have_an_entry_a_token_and_sum_to_at_most_one(worker: Worker):
    stream = begin(worker, CAPITAL, SamplingParams(max_tokens=20, top_k=1, logprobs=5))
    text, entries = "", []
    while not isinstance(event := stream.get(30), RequestFinished):
        if isinstance(event, Piece):
            text += event.text
            entries += event.logprobs or []
    assert "".join(entry.token for entry in entries) == text
    assert len(entries) == event.usage.completion_tokens
    for entry in entries:
        assert entry.top[0].logprob == entry.logprob, "greedy draws the likeliest"
        assert [top.logprob for top in entry.top] == sorted((t.logprob for t in entry.top), reverse=True)
        assert sum(math.exp(top.logprob) for top in entry.top) <= 1 + 1e-6
