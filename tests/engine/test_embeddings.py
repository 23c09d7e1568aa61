"""Embeddings beside running text, from the demo model and its architectures."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import pytest

from api_host.engine.llama.model import LlamaModel
from api_host.engine.messages import Embedded, Load
from api_host.engine.process import Worker
from api_host.errors import ContextLengthExceeded, InvalidRequest, OutOfMemory, WorkerDied
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


def embed(worker: Worker, *texts: str | list[int]) -> np.ndarray:
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


@contextmanager
def serving(path: Path, architecture: str, n_ctx: int = 512, **header: int) -> Iterator[Worker]:
    """A worker with a random model whose header says these things too."""
    write_random(
        path, architecture, DEMO_MODEL_PATH, header={f"{architecture}.{k}": v for k, v in header.items()}
    )
    worker = Worker.start(Load(str(path), n_ctx=n_ctx, n_slots=2, n_threads=1))
    yield worker
    worker.stop()


@pytest.mark.parametrize("context_length", [33, 255, 1000])
@pytest.mark.parametrize("architecture", ["llama", "bert", "mamba"])
def test_a_context_of_any_length_embeds_texts_up_to_it(
    architecture: str, context_length: int, tmp_path: Path
):
    with serving(tmp_path / "odd.gguf", architecture, context_length=context_length) as worker:
        whole = [[5] * context_length, *([7 + i] for i in range(40))]
        vectors = embed(worker, *whole)
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
        assert np.allclose(vectors[1:3], embed(worker, *whole[1:3]), atol=ROUNDING)
        with pytest.raises(ContextLengthExceeded, match=f"text 0 has {context_length + 1} tokens"):
            embed(worker, [5] * (context_length + 1))


def test_a_model_that_ranks_is_refused_and_nothing_is_left_of_the_try(tmp_path: Path):
    with serving(tmp_path / "rank.gguf", "llama", pooling_type=4) as worker:
        process = psutil.Process(worker.pid)
        sizes = []
        for _ in range(5):
            with pytest.raises(InvalidRequest, match="ranks pairs of texts"):
                embed(worker, "A cat")
            sizes.append(process.memory_info().vms)
        assert max(sizes) - sizes[0] < 1 << 20


@pytest.mark.parametrize("architecture", ["llama", "bert"])
@pytest.mark.parametrize("pooling_type", [0, 99, 2**32 - 1])
def test_a_way_of_pooling_that_is_none_is_the_mean(architecture: str, pooling_type: int, tmp_path: Path):
    with serving(tmp_path / "mean.gguf", architecture, pooling_type=1) as worker:
        expected = embed(worker, "A cat sat on", "Paris")
    with serving(tmp_path / "none.gguf", architecture, pooling_type=pooling_type) as worker:
        assert np.allclose(embed(worker, "A cat sat on", "Paris"), expected, atol=1e-5)


def test_no_memory_for_embeddings_is_not_the_requests_fault():
    worker = Worker.start(Load(str(DEMO_MODEL_PATH), n_ctx=512, n_slots=1, n_threads=1))
    process = psutil.Process(worker.pid)
    unbounded = process.rlimit(psutil.RLIMIT_AS)
    process.rlimit(psutil.RLIMIT_AS, (process.memory_info().vms + (4 << 20), unbounded[1]))
    with pytest.raises(OutOfMemory, match="no memory") as refused:
        embed(worker, "A cat")
    assert refused.value.status == 507
    process.rlimit(psutil.RLIMIT_AS, unbounded)
    assert len(embed(worker, "A cat")) == 1
    worker.stop()


def test_what_llama_cpp_says_of_embeddings_is_no_reason_for_a_later_end():
    worker = Worker.start(Load(str(DEMO_MODEL_PATH), n_ctx=512, n_threads=1))
    embed(worker, "A cat")
    psutil.Process(worker.pid).kill()
    with pytest.raises(WorkerDied) as died:
        embed(worker, "A cat")
    assert died.value.details["stderr"] == ""
    worker.stop()


@pytest.mark.parametrize("setting", [{"rope_freq_base": 500.0}, {"rope_freq_scale": 0.25}])
def test_embeddings_are_made_with_the_rotary_positions_of_the_settings(
    worker: Worker, setting: dict[str, float]
):
    text = "A cat sat on a mat and looked at the sea. " * 3
    turned = Worker.start(Load(str(DEMO_MODEL_PATH), n_ctx=512, n_slots=1, n_threads=1, **setting))
    assert (embed(turned, text) @ embed(worker, text).T).item() < 0.99
    turned.stop()


@pytest.mark.parametrize("bos", [0, 1])
def test_a_text_that_is_cut_keeps_the_token_that_closes_it(bos: int, tmp_path: Path):
    """Its state is the text's vector; some vocabularies have one token for the beginning and the end."""
    path = tmp_path / "last.gguf"
    header = {"context_length": 256, "pooling_type": 3}
    write_random(
        path,
        "llama",
        DEMO_MODEL_PATH,
        header={
            **{f"llama.{key}": value for key, value in header.items()},
            "tokenizer.ggml.add_bos_token": False,
            "tokenizer.ggml.add_eos_token": True,
            "tokenizer.ggml.bos_token_id": bos,
        },
    )
    model = LlamaModel(str(path))
    tokens = list(model.tokenize("x " * 400, add_special=True))
    assert tokens[-1] == model.eos
    model.close()
    worker = Worker.start(Load(str(path), n_ctx=256, n_slots=1, n_threads=1))
    cut = np.frombuffer(vectors_of(worker, "x " * 400)[0], "<f4")
    assert np.allclose(cut, embed(worker, [*tokens[:255], tokens[-1]])[0], atol=ROUNDING)
    listed = np.frombuffer(vectors_of(worker, tokens)[0], "<f4")
    assert np.allclose(listed, embed(worker, tokens[:256])[0], atol=ROUNDING)
    assert not np.allclose(cut, listed, atol=0.01)
    worker.stop()


def vectors_of(worker: Worker, text: str | list[int]) -> list[bytes]:
    event = worker.embed([text], truncate=True).get(timeout=30)
    assert isinstance(event, Embedded)
    return event.vectors
