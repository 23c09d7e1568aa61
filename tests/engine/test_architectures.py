"""Models that cannot drop part of a sequence (recurrent, hybrid, sliding window) give what a fresh context gives.

Logits are compared, not text: a prompt read in other pieces rounds differently (half a percent of their spread
here), and random weights have near ties. Wrong cells move logits by about their spread.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from array import array
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import llama_cpp
import numpy as np
import pytest

from api_host.engine.backend import Span
from api_host.engine.llama.context import LlamaContext
from api_host.engine.llama.model import LlamaModel
from api_host.engine.messages import Load
from api_host.engine.process import Worker
from api_host.generation import SamplingParams
from api_host.gguf_header import read_header
from api_host.kv_cache import CacheType, KvCache, kv_cache, layer_count
from api_host.models.demo import DEMO_MODEL_PATH
from tests.engine.reading import begin, read
from tests.fakes.architectures import GENERATORS, HEAD, N_HEAD_KV, N_LAYER, WINDOW, write_random

START = " ".join(["The quick brown fox jumps over the lazy dog."] * 6)
ROUNDING = 0.02


@pytest.fixture(scope="module")
def gguf_paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("architectures")
    return {name: write_random(folder / f"{name}.gguf", name, DEMO_MODEL_PATH) for name in GENERATORS}


@pytest.fixture(params=GENERATORS)
def context(request: pytest.FixtureRequest, gguf_paths: dict[str, Path]) -> Iterator[LlamaContext]:
    model = LlamaModel(str(gguf_paths[request.param]))
    context = new_context(model)
    yield context
    context.close()
    model.close()


# What llama.cpp says that it has allocated, in MiB with two digits.
_KV_BUFFER = re.compile(r"KV buffer size = +([\d.]+) MiB")
_STATE_BUFFER = re.compile(r"RS buffer size = +([\d.]+) MiB")
_MAKE_A_CONTEXT = """
import sys
import llama_cpp
from api_host.engine.llama import context, model
path, cache_type = sys.argv[1:]
llama_cpp.llama_log_set(llama_cpp.llama_log_callback(0), None)
of_path = model.LlamaModel(path)
llama_cpp.llama_init_from_model(of_path.pointer, context._params(8 * 2048, 8, 512, 1, cache_type))
"""


@pytest.mark.parametrize("cache_type", ["f16", "q8_0"])
@pytest.mark.parametrize(
    ("name", "pattern", "n_whole", "n_windowed"),
    [
        ("llama", None, N_LAYER, 0),
        ("mamba", None, 0, 0),
        ("lfm2", None, N_LAYER // 2, 0),
        ("bert", None, 0, 0),
        ("gemma3", None, 0, N_LAYER),  # of six layers only the last keeps all
        ("gemma3", 2, N_LAYER // 2, N_LAYER // 2),
        ("gemma3", 0, 0, N_LAYER),
        ("gemma3", [True, False, False, False], N_LAYER - 1, 1),
    ],
)
def test_a_kv_cache_is_reckoned_as_llama_cpp_makes_it(
    tmp_path: Path, name: str, pattern: Any, n_whole: int, n_windowed: int, cache_type: CacheType
):
    header = {} if pattern is None else {f"{name}.attention.sliding_window_pattern": pattern}
    path = write_random(tmp_path / f"{name}.gguf", name, DEMO_MODEL_PATH, header=header)
    per_layer = N_HEAD_KV * (HEAD + HEAD) * {"f16": 32, "q8_0": 17}[cache_type] // 16
    cache = kv_cache(read_header(path), cache_type)
    window = WINDOW if n_windowed else 0
    assert replace(cache, state=0) == KvCache(n_whole * per_layer, n_windowed * per_layer, window)
    model = LlamaModel(str(path))
    assert model.kv_cache(cache_type) == cache
    model.close()
    assert made_by_llama_cpp(path, cache_type) == (of_eight(replace(cache, state=0)), of_eight(cache, 0))


@pytest.mark.parametrize("cache_type", ["f16", "q8_0"])
@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("qwen35", {}),
        ("qwen35", {"qwen35.full_attention_interval": 4}),
        ("qwen35", {"qwen35.attention.recurrent_layers": [True, True, True, False]}),
        ("deepseek2", {}),
        ("nanbeige", {"nanbeige.num_loops": 3}),
    ],
)
def test_running_states_keys_that_have_the_values_in_them_and_loops_are_reckoned_as_llama_cpp_makes_them(
    tmp_path: Path, name: str, header: dict[str, Any], cache_type: CacheType
):
    path = write_random(tmp_path / f"{name}.gguf", name, DEMO_MODEL_PATH, header=header)
    cache = kv_cache(read_header(path), cache_type)
    assert cache.per_token > 0
    assert (cache.state > 0) == (name == "qwen35")
    model = LlamaModel(str(path))
    assert layer_count(read_header(path)) == model.n_layer
    model.close()
    assert made_by_llama_cpp(path, cache_type) == (of_eight(replace(cache, state=0)), of_eight(cache, 0))


def of_eight(cache: KvCache, n_ctx: int = 2048) -> Any:
    """What eight sequences take, in the MiB with two digits that llama.cpp tells."""
    return pytest.approx(cache.size(n_ctx, 8) / 1024**2, abs=0.01)


def made_by_llama_cpp(path: Path, cache_type: CacheType) -> tuple[float, float]:
    """MiB of the cells and of the running states of eight sequences of 2,048 tokens."""
    command = [sys.executable, "-c", _MAKE_A_CONTEXT, str(path), cache_type]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    cells, states = (sum(map(float, of.findall(told))) for of in (_KV_BUFFER, _STATE_BUFFER))
    return cells, states


def test_odd_values_of_a_header_are_no_obstacle(tmp_path: Path):
    path = tmp_path / "odd.gguf"
    reader = gguf.GGUFReader(shutil.copy(DEMO_MODEL_PATH, path), "r+")
    reader.fields["llama.context_length"].parts[-1][0] = 2**32 - 16
    reader.data.flush()
    model = LlamaModel(str(path))
    assert model.n_ctx_train == 2**31 - 1
    model.metadata["llama.odd"] = "[007]"
    assert model.kv_cache("f16") == kv_cache(read_header(DEMO_MODEL_PATH))
    path.unlink()
    assert model.kv_cache("f16") == KvCache()
    model.close()


def new_context(model: LlamaModel) -> LlamaContext:
    return LlamaContext(model, n_ctx=512, n_slots=2, n_batch=128, n_threads=1)


def logits(context: LlamaContext, slot: int, tokens: array[int], start: int) -> np.ndarray:
    """Reads ``tokens`` from ``start`` on into a slot; the logits after the last."""
    while start < len(tokens):
        piece = tokens[start : start + 100]
        span = Span(slot, piece, start, n_outputs=int(start + len(piece) == len(tokens)))
        context.decode([span])
        start += len(piece)
    pointer = llama_cpp.llama_get_logits_ith(context.pointer, span.row)
    return np.ctypeslib.as_array(pointer, (context.model.n_vocab,)).copy()


def fresh_logits(model: LlamaModel, tokens: array[int]) -> np.ndarray:
    context = new_context(model)
    found = logits(context, 0, tokens, 0)
    context.close()
    return found


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """The largest difference, in units of the logits' spread."""
    return float(np.abs(a - b).max() / b.std())


def test_two_texts_that_differ_in_one_word_are_told_apart(context: LlamaContext):
    model = context.model
    one, two = (model.tokenize(START + word, True) for word in (" one", " two"))
    assert distance(fresh_logits(model, one), fresh_logits(model, two)) > 10 * ROUNDING


@pytest.mark.parametrize("kept", [3, WINDOW // 2, 150])
def test_a_trimmed_slot_goes_on_as_a_fresh_one(context: LlamaContext, kept: int):
    model = context.model
    tokens = model.tokenize(START + " one", True)
    logits(context, 0, tokens, 0)
    other = tokens[:kept] + model.tokenize(" and something else", False)
    start = context.trim(0, kept)
    assert start in (0, kept)
    assert start == kept or not context.can_trim or kept < len(tokens) - WINDOW
    assert distance(logits(context, 0, other, start), fresh_logits(model, other)) < ROUNDING


def test_a_copied_prefix_goes_on_as_a_fresh_one(context: LlamaContext):
    model = context.model
    tokens = model.tokenize(START, True)
    logits(context, 0, tokens, 0)
    other = tokens[:100] + model.tokenize(" and something else", False)
    start = context.copy(0, 1, 100)
    assert distance(logits(context, 1, other, start), fresh_logits(model, other)) < ROUNDING
    longer = tokens + model.tokenize(" and then", False)
    whole = context.copy(0, 1, len(tokens))
    assert whole == len(tokens)
    assert distance(logits(context, 1, longer, whole), fresh_logits(model, longer)) < ROUNDING


def test_a_worker_serves_a_recurrent_model_as_a_fresh_one_does(gguf_paths: dict[str, Path]):
    prompts = [START + " one", START + " two", START + " one", START[:90], START + " one more", "short"]

    def generated(worker: Worker, prompt: str, n_tokens: int = 8) -> tuple[str, int]:
        greedy = SamplingParams(max_tokens=n_tokens, top_k=1, ignore_eos=True)
        texts, finished = read(begin(worker, prompt, greedy))
        return texts[0], finished.usage.cached_tokens

    worker = Worker.start(Load(str(gguf_paths["mamba"]), n_ctx=512, n_slots=3, n_threads=1))
    alone = [generated(worker, prompt)[0] for prompt in prompts]
    with ThreadPoolExecutor(len(prompts)) as threads:
        together = [text for text, _ in threads.map(lambda prompt: generated(worker, prompt), prompts)]
    generated(worker, START, n_tokens=1)
    _, cached = generated(worker, START + " and then")
    worker.stop()
    assert together == alone
    assert len(set(alone)) > 3
    assert cached > 100


def test_no_text_goes_beyond_what_a_model_was_trained_for(tmp_path: Path):
    """llama.cpp's streams are a multiple of 256 cells; learned positions end before that."""
    path = write_random(tmp_path / "odd.gguf", "llama", DEMO_MODEL_PATH, header={"llama.context_length": 300})
    worker = Worker.start(Load(str(path), n_ctx=4096, n_slots=2, n_threads=1))
    assert (worker.info.n_ctx, worker.info.n_ctx_train) == (300, 300)
    greedy = SamplingParams(max_tokens=1000, top_k=1, ignore_eos=True)
    usage = read(begin(worker, "A cat sat on", greedy))[1].usage
    assert usage.prompt_tokens + usage.completion_tokens == 300
    worker.stop()
