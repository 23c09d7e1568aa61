"""Texts to embed wait, are read and are refused beside running text, step by step, in an engine with the demo model."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from api_host.engine.embeddings import Embeddings
from api_host.engine.engine import Engine
from api_host.engine.llama.embedder import LlamaEmbedder
from api_host.engine.llama.model import LlamaModel
from api_host.engine.loader import load_model
from api_host.engine.messages import (
    Cancel,
    Embed,
    Embedded,
    Generate,
    Load,
    Piece,
    RequestFailed,
    ToWorker,
    WorkerEvent,
)
from api_host.engine.prompt import text_tokens
from api_host.generation import GenerationRequest, SamplingParams
from api_host.models.demo import DEMO_MODEL_PATH
from tests.fakes.architectures import WIDTH, write_random

SENTENCE = "The quick brown fox jumps over the lazy dog. " * 10
MANY = [f"{i} {SENTENCE}" for i in range(600)]
TOO_LONG = "word " * 5000


@pytest.fixture
def engine() -> Iterator[Engine]:
    load = Load(str(DEMO_MODEL_PATH), n_ctx=1024, n_slots=1, n_threads=1, queue_limit=2)
    loaded = load_model(load)
    yield Engine(loaded, load)
    loaded.context.close()
    loaded.model.close()


def steps(engine: Engine, until: type[WorkerEvent]) -> tuple[int, WorkerEvent, int]:
    """How many steps it takes until such an event, the event, and how many tokens are written meanwhile."""
    n_written = 0
    for n in range(1000):
        for event in engine.take_events():
            if isinstance(event, until):
                return n, event, n_written
            n_written += event.n_tokens if isinstance(event, Piece) else 0
        engine.step()
    raise TimeoutError("no such event within 1000 steps")


def refusal(engine: Engine, message: ToWorker) -> RequestFailed:
    engine.take(message)
    _, event, _ = steps(engine, RequestFailed)
    assert isinstance(event, RequestFailed)
    return event


def test_running_text_goes_on_while_a_large_request_is_read(engine: Engine):
    sampling = SamplingParams(max_tokens=900, top_k=1, ignore_eos=True)
    engine.take(Generate(1, GenerationRequest("A cat sat on", sampling=sampling)))
    steps(engine, Piece)
    engine.take(Embed(2, [*MANY, TOO_LONG]))
    n_steps, refused, n_written = steps(engine, RequestFailed)
    assert isinstance(refused, RequestFailed)
    assert (refused.id, refused.code) == (2, "context_length_exceeded")
    assert refused.message.startswith("inputs: text 600 has ")
    assert refused.details["n_prompt_tokens"] > refused.details["n_ctx"]
    assert n_steps >= sum(map(len, MANY)) // 65536
    assert n_written >= n_steps - 2


def test_no_text_of_a_request_is_embedded_before_all_are_read(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
):
    embedded: list[int] = []
    embed = LlamaEmbedder.embed
    monkeypatch.setattr(
        LlamaEmbedder, "embed", lambda self, texts: (embedded.append(len(texts)), embed(self, texts))[1]
    )
    wrong_token = refusal(engine, Embed(1, [*MANY, [10**6]]))
    assert (wrong_token.code, embedded) == ("invalid_request", [])
    assert wrong_token.message.startswith("inputs: 1000000 is no token of this model")
    engine.take(Embed(2, ["A cat"]))
    engine.take(Embed(3, ["A dog", "A cat"]))
    _, one, _ = steps(engine, Embedded)
    assert isinstance(one, Embedded)
    assert (one.id, embedded) == (2, [3])


def test_who_leaves_while_his_texts_are_read_leaves_nothing_behind(engine: Engine):
    engine.take(Embed(1, MANY))
    engine.step()
    assert engine.has_work
    assert not engine.only_decodes
    engine.take(Cancel(1))
    assert not engine.has_work
    engine.take(Embed(2, ["A cat"]))
    _, event, _ = steps(engine, Embedded)
    assert isinstance(event, Embedded)
    assert event.id == 2
    assert not engine.has_work


def test_a_full_queue_refuses_texts_before_they_are_read(engine: Engine):
    engine.take(Embed(1, MANY))
    engine.take(Embed(2, MANY))
    full = refusal(engine, Embed(3, [TOO_LONG]))
    assert (full.id, full.code, full.details["limit"]) == (3, "queue_full", 2)
    assert full.details["retry_after"] > 0


def test_a_text_that_is_far_too_long_is_refused_unread(engine: Engine):
    refused = refusal(engine, Embed(1, ["A cat", "word" * 1_000_000]))
    assert refused.code == "context_length_exceeded"
    assert "text 1 has " in refused.message
    assert " tokens at least and this model embeds at most 2048; split it" in refused.message
    assert refused.details["n_ctx"] == 2048 < refused.details["n_prompt_tokens"]


@pytest.mark.parametrize("architecture", ["llama", "bert", "mamba"])
def test_a_text_of_which_the_model_makes_no_numbers_fails_alone(architecture: str, tmp_path: Path):
    rows = np.zeros((832, WIDTH), np.float32)
    rows[700] = np.nan
    path = tmp_path / "model.gguf"
    model = LlamaModel(
        str(write_random(path, architecture, DEMO_MODEL_PATH, added={"token_embd.weight": rows}))
    )
    embedder = LlamaEmbedder(model, n_threads=1)
    (expected,) = embedder.embed([array("i", [5, 6])])
    assert expected is not None
    embeddings = Embeddings(embedder, partial(text_tokens, model, embedder.n_ctx), queue_limit=4)
    for id, texts in enumerate([[[5, 6]], [[7], [700], [5, 6]], [[8], [5, 6]]]):
        embeddings.submit(id, texts)
    embeddings.step()
    events = {event.id: event for event in embeddings.take_events()}
    failed = events.pop(1)
    assert isinstance(failed, RequestFailed)
    assert failed.message.startswith("inputs: text 1 has no vector")
    assert not embeddings.has_work
    for event in events.values():
        assert isinstance(event, Embedded)
        assert np.allclose(np.frombuffer(event.vectors[-1], "<f4"), expected, atol=5e-3)
    assert sorted(events) == [0, 2]
    embedder.close()
    model.close()
