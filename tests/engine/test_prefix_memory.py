"""Prefixes in host memory, with real cells, and when they are worth their copies."""

from __future__ import annotations

from array import array

from api_host.engine.messages import Load
from api_host.engine.parking import Parking
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


def test_what_is_read_nearly_as_soon_as_it_is_copied_is_not_kept():
    now = 0.0

    def save(seconds: float = 0.5) -> bytes:
        nonlocal now
        now += seconds
        return bytes(1000)

    parking = Parking(10_000, clock=lambda: now)
    prompts = [array("i", [n] * 100) for n in range(5)]
    assert parking.park(prompts[0], (), 1000, save, worth=0.1), "the first shows what a copy costs"
    assert not parking.park(prompts[1], (), 1000, save, worth=1.9)
    assert parking.park(prompts[2], (), 1000, save, worth=2.1)
    assert parking.park(prompts[3], (), 1000, lambda: save(0.01), worth=None)
    assert parking.park(prompts[4], (), 1000, save, worth=0.05)
    assert parking.n_bytes == 4000
