"""Embeddings beside running text, from the demo model and its architectures."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from api_host.engine.messages import Embedded, Load
from api_host.engine.process import Worker
from api_host.errors import ContextLengthExceeded, InvalidRequest
from api_host.generation import SamplingParams
from api_host.models.demo import DEMO_MODEL_PATH
from tests.engine.reading import begin, read
from tests.fakes.architectures import write_random

# Tokens of one text in batches of different sizes go through different kernels of llama.cpp.
ROUNDING = 5e-3


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    worker = Worker.start(Load(str(DEMO_MODEL_PATH), n_ctx=1024, n_slots=2, n_threads=1))
    yield worker
    worker.stop()


def embed(worker: Worker, *texts: str) -> np.ndarray:
    event = worker.embed(list(texts)).get(timeout=30)
    assert isinstance(event, Embedded)
    assert event.n_tokens >= len(texts)
    return np.array([np.frombuffer(vector, "<f4") for vector in event.vectors])


def test_a_vector_a_text_of_length_one_the_same_for_the_same_text(worker: Worker):
    vectors = embed(worker, "A cat sat on", "What is the capital of France?", "A cat sat on")
    assert vectors.shape[0] == 3
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert np.allclose(vectors[0], vectors[2], atol=1e-5)
    assert vectors[0] @ vectors[1] < 0.99


def test_a_hundred_texts_in_one_request_equal_one_at_a_time(worker: Worker):
    texts = [f"text number {i} " * (i % 7 + 1) for i in range(100)]
    together = embed(worker, *texts)
    alone = np.concatenate([embed(worker, text) for text in texts[::9]])
    assert np.allclose(together[::9], alone, atol=ROUNDING)


def test_embedding_beside_running_text_changes_neither(worker: Worker):
    greedy = SamplingParams(max_tokens=200, top_k=1, ignore_eos=True)
    alone = read(begin(worker, "A cat sat on", greedy))[0]
    vector = embed(worker, "zephyr")
    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(lambda: read(begin(worker, "A cat sat on", greedy))[0])
        beside = [embed(worker, "zephyr") for _ in range(10)]
        assert running.result() == alone
    assert all(np.allclose(vector, other, atol=ROUNDING) for other in beside)


def test_a_text_that_is_too_long_is_named(worker: Worker):
    with pytest.raises(ContextLengthExceeded, match="text 1 has"):
        embed(worker, "short", "word " * 5000)


@pytest.mark.parametrize("architecture", ["bert", "mamba", "gemma3"])
def test_other_architectures_embed_too(architecture: str, tmp_path: Path):
    path = write_random(tmp_path / f"{architecture}.gguf", architecture, DEMO_MODEL_PATH)
    worker = Worker.start(Load(str(path), n_ctx=512, n_slots=2, n_threads=1))
    vectors = embed(worker, "A cat sat on", "Paris", "A cat sat on")
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert np.allclose(vectors[0], vectors[2], atol=1e-5)
    assert not np.allclose(vectors[0], vectors[1], atol=0.01)
    if architecture == "bert":
        with pytest.raises(InvalidRequest, match="makes embeddings and no text"):
            read(begin(worker, "Hello", SamplingParams()))
    worker.stop()
