"""Prefixes in host memory, with real cells."""

from __future__ import annotations

from api_host.engine.messages import Load
from api_host.engine.process import Worker
from api_host.generation import SamplingParams
from api_host.models.demo import DEMO_MODEL_PATH
from tests.engine.reading import begin, read


def test_a_chat_that_lost_its_slot_comes_back_from_host_memory():
    long = "The quick brown fox jumps over the lazy dog. " * 12
    params = SamplingParams(max_tokens=12, top_k=1, ignore_eos=True)
    load = Load(str(DEMO_MODEL_PATH), n_ctx=512, n_slots=1, n_threads=1, prefix_memory=1 << 28)
    worker = Worker.start(load)
    try:
        first = read(begin(worker, long, params))
        read(begin(worker, "Something else altogether, and long enough to matter. " * 12, params))
        again = read(begin(worker, long, params))
        assert again[1].usage.cached_tokens == again[1].usage.prompt_tokens - 1
        assert again[0] == first[0]
    finally:
        worker.stop()
