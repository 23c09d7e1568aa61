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


class Copies:
    """States of 1,000 bytes; each takes ``seconds`` of its clock to copy out."""

    def __init__(self, seconds: float) -> None:
        self.now = 0.0
        self.seconds = seconds
        self.parking = Parking(1_000_000, clock=lambda: self.now)

    def _save(self) -> bytes:
        self.now += self.seconds
        return bytes(1000)

    def lose(self, tokens: array[int], worth: float | None) -> bool:
        return self.parking.park(tokens, (), 1000, self._save, worth)


def prompts(n: int) -> list[array[int]]:
    return [array("i", [i] * 100) for i in range(n)]


def test_what_is_read_nearly_as_soon_as_it_is_copied_is_not_kept():
    copies = Copies(0.5)
    first, second, third, fourth = prompts(4)
    assert copies.lose(first, worth=0.1), "it shows what a copy costs"
    copies.parking.came(first, ())
    assert not copies.lose(second, worth=0.9)
    copies.parking.came(second, ())
    assert copies.lose(third, worth=1.1)
    copies.seconds = 0.01
    assert copies.lose(fourth, worth=None), "nothing is known of the speed of reading"
    for lost in (third, fourth):
        copies.parking.came(lost, ())
    assert copies.lose(first, worth=0.03)


def test_copies_end_where_nobody_comes_back_and_begin_again_where_somebody_does():
    copies = Copies(0.1)
    # More than each tenth of them would have to come back.
    kept = [copies.lose(tokens, worth=1.05) for tokens in prompts(200)]
    assert all(kept[:9]) and not any(kept[9:])
    chats = [array("i", range(1000 * i, 1000 * i + 100)) for i in range(20)]
    for chat in chats:
        copies.parking.came(chat + array("i", [7]), ())
        copies.lose(chat, worth=1.05)
    kept = []
    for chat in chats:
        copies.parking.came(chat + array("i", [7]), ())
        kept.append(copies.lose(chat, worth=1.05))
    assert all(kept[10:])


def test_a_prompt_that_only_begins_with_the_same_instructions_is_no_return():
    copies = Copies(0.1)
    shared = array("i", range(40))
    rows = [shared + array("i", [1000 + i] * 60) for i in range(50)]
    kept = []
    for row in rows:
        copies.parking.came(row, ())
        kept.append(copies.lose(row, worth=1.05))
    assert not any(kept[9:])
