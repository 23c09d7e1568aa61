"""Models that cannot drop part of a sequence (recurrent, hybrid, sliding window) say what a fresh context says."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from api_host.engine.messages import Load
from api_host.engine.process import Worker
from api_host.generation import SamplingParams, Usage
from api_host.models.demo import DEMO_MODEL_PATH
from tests.engine.reading import read
from tests.fakes.architectures import GENERATORS, write_random

START = " ".join(["The quick brown fox jumps over the lazy dog."] * 6)
PROMPTS = [
    START + " one",
    START + " two",
    START + " one",
    START[:90],
    START + " one more",
    "short",
    START * 2 + "x",
]


@pytest.fixture(scope="module", params=GENERATORS)
def gguf_path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("architectures")
    return write_random(folder / f"{request.param}.gguf", request.param, DEMO_MODEL_PATH)


@pytest.fixture(scope="module")
def fresh(gguf_path: Path) -> dict[str, str]:
    """What each prompt gives in a context that has seen nothing else."""
    texts = {}
    for prompt in dict.fromkeys(PROMPTS):
        worker = Worker.start(Load(str(gguf_path), n_ctx=512, n_slots=1))
        texts[prompt] = generated(worker, prompt)[0]
        worker.stop()
    return texts


@pytest.fixture
def worker(gguf_path: Path) -> Iterator[Worker]:
    worker = Worker.start(Load(str(gguf_path), n_ctx=512, n_slots=3))
    yield worker
    worker.stop()


def generated(worker: Worker, prompt: str, n_tokens: int = 12) -> tuple[str, Usage]:
    params = SamplingParams(max_tokens=n_tokens, top_k=1, ignore_eos=True)
    texts, finished = read(worker.generate(prompt, params))
    return texts[0], finished.usage


def test_one_after_another_reused_slots_change_nothing(worker: Worker, fresh: dict[str, str]):
    assert [generated(worker, prompt)[0] for prompt in PROMPTS] == [fresh[prompt] for prompt in PROMPTS]


def test_all_at_once_sharing_changes_nothing(worker: Worker, fresh: dict[str, str]):
    with ThreadPoolExecutor(len(PROMPTS)) as threads:
        together = list(threads.map(lambda prompt: generated(worker, prompt)[0], PROMPTS))
    assert together == [fresh[prompt] for prompt in PROMPTS]


def test_a_prompt_that_goes_on_from_a_whole_sequence_reuses_it(worker: Worker, gguf_path: Path):
    text, usage = generated(worker, START, n_tokens=1)
    again, second = generated(worker, START + " and then")
    assert second.cached_tokens > 0.8 * usage.prompt_tokens
    fresh_worker = Worker.start(Load(str(gguf_path), n_ctx=512, n_slots=1))
    assert generated(fresh_worker, START + " and then")[0] == again
    fresh_worker.stop()
    assert text
