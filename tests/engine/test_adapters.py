"""LoRA adapters: what merging them into the weights gives, each request with its own, and no cells shared between."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from pathlib import Path

import llama_cpp
import numpy as np
import pytest

from api_host.engine.backend import Adapters, Span
from api_host.engine.llama.context import LlamaContext
from api_host.engine.llama.model import LlamaModel
from api_host.engine.messages import Load, RequestFinished
from api_host.engine.process import Worker
from api_host.engine.request_stream import RequestStream
from api_host.errors import InvalidRequest
from api_host.generation import GenerationRequest, SamplingParams
from api_host.models.demo import DEMO_MODEL_PATH
from tests.engine.reading import read
from tests.fakes.architectures import write_adapter, write_random

PROMPT = " ".join(["The quick brown fox jumps over the lazy dog."] * 6)
ROUNDING = 0.02


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapters")
    added = write_adapter(folder / "a.gguf", seed=1)
    write_adapter(folder / "b.gguf", seed=2)
    write_random(folder / "base.gguf", "gemma3", DEMO_MODEL_PATH)
    write_random(folder / "merged.gguf", "gemma3", DEMO_MODEL_PATH, added=added)
    halved = {name: values * np.float32(0.5) for name, values in added.items()}
    write_random(folder / "half_merged.gguf", "gemma3", DEMO_MODEL_PATH, added=halved)
    return folder


def logits(path: Path, adapters: Adapters = ()) -> np.ndarray:
    model = LlamaModel(str(path))
    context = LlamaContext(model, n_ctx=512, n_slots=1, n_batch=256, n_threads=1)
    context.adapters.load(adapters)
    tokens = model.tokenize(PROMPT, add_special=True)
    span = Span(0, array("i", tokens), 0, n_outputs=1)
    context.decode([span], adapters)
    found = np.ctypeslib.as_array(
        llama_cpp.llama_get_logits_ith(context.pointer, span.row), (model.n_vocab,)
    ).copy()
    context.close()
    model.close()
    return found


def distance(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).max() / a.std())


@pytest.mark.parametrize(("scale", "merged"), [(1.0, "merged"), (0.5, "half_merged")])
def test_an_adapter_gives_what_its_merged_weights_give(folder: Path, scale: float, merged: str):
    adapted = logits(folder / "base.gguf", ((str(folder / "a.gguf"), scale),))
    assert distance(adapted, logits(folder / f"{merged}.gguf")) < ROUNDING
    assert distance(adapted, logits(folder / "base.gguf")) > 0.2


@pytest.fixture(scope="module")
def worker(folder: Path) -> Iterator[Worker]:
    worker = Worker.start(Load(str(folder / "base.gguf"), n_ctx=512, n_slots=4, n_threads=1))
    yield worker
    worker.stop()


def begin(worker: Worker, adapters: list[tuple[str, float]], prompt: str = PROMPT) -> RequestStream:
    params = SamplingParams(max_tokens=40, top_k=1, ignore_eos=True)
    return worker.generate(GenerationRequest(prompt, sampling=params), adapters=adapters)


def finished(worker: Worker, adapters: list[tuple[str, float]], prompt: str = PROMPT) -> RequestFinished:
    return read(begin(worker, adapters, prompt))[1]


def test_requests_with_different_adapters_run_side_by_side_each_with_its_own(worker: Worker, folder: Path):
    sets = [[], [(str(folder / "a.gguf"), 1.0)], [(str(folder / "b.gguf"), 1.0)]]
    alone = [read(begin(worker, adapters))[0][0] for adapters in sets]
    assert len(set(alone)) == 3
    streams = [begin(worker, adapters) for adapters in sets]
    assert [read(stream)[0][0] for stream in streams] == alone


def test_cells_made_with_one_adapter_serve_no_other(worker: Worker, folder: Path):
    prompt = "Nothing like this was asked before. " * 8
    adapters = [(str(folder / "a.gguf"), 1.0)]
    only_bos = 1
    assert finished(worker, [], prompt).usage.cached_tokens <= only_bos
    assert finished(worker, adapters, prompt).usage.cached_tokens == 0
    assert finished(worker, [(str(folder / "a.gguf"), 0.5)], prompt).usage.cached_tokens == 0
    again = finished(worker, adapters, prompt).usage
    assert again.cached_tokens == again.prompt_tokens - 1


def test_a_file_that_is_no_adapter_is_refused_and_nothing_else_suffers(worker: Worker, folder: Path):
    before = read(begin(worker, []))[0][0]
    for name in ("base.gguf", "there_is_none.gguf"):
        with pytest.raises(InvalidRequest, match=r"options\.lora\.0: this is no adapter") as refused:
            read(begin(worker, [(str(folder / name), 1.0)]))
        assert str(folder) not in refused.value.message
    assert read(begin(worker, []))[0][0] == before
