"""Prefixes in host memory, with real cells, and when they are worth their copies."""

from __future__ import annotations

import random
from array import array
from functools import partial

from api_host.engine.llama.context import LlamaContext
from api_host.engine.llama.model import LlamaModel
from api_host.engine.llama.sampler import LlamaSampler
from api_host.engine.messages import Load, RequestFinished
from api_host.engine.parking import Parking
from api_host.engine.process import Worker
from api_host.engine.scheduler import Scheduler
from api_host.engine.sequence import Request
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


def test_a_state_that_is_put_back_leaves_the_cells_that_are_still_to_be_copied():
    """One request copies its prefix out of a slot into which another, that came with it, returns."""
    model = LlamaModel(str(DEMO_MODEL_PATH))
    params = SamplingParams(max_tokens=12, top_k=1, ignore_eos=True)
    words = random.Random(1)

    def prompt(length: int) -> array[int]:
        return array("i", (words.randrange(300, 690) for _ in range(length)))

    shared, gone = prompt(200), prompt(300)
    histories = [gone, shared + prompt(400), prompt(150)]
    asked, returning = shared + prompt(10), gone + prompt(1)

    def text(*together: array[int]) -> array[int]:
        """What the last of these prompts is answered, behind the same history."""
        context = LlamaContext(model, n_ctx=1024, n_slots=2, n_batch=512, n_threads=1)
        scheduler = Scheduler(context, model, partial(LlamaSampler, context), prefix_memory=1 << 28)
        try:
            answers = {}
            for id, *prompts in ((0, histories[0]), (1, histories[1]), (2, histories[2]), (3, *together)):
                for number, tokens in enumerate(prompts):
                    request = Request(10 * id + number, tokens[:], params, [], 1024, want_tokens=True)
                    scheduler.submit(request)
                while scheduler.has_work:
                    scheduler.step()
                    answers |= {e.id: e for e in scheduler.take_events() if isinstance(e, RequestFinished)}
            assert answers[30].usage.cached_tokens >= 190, "it was to copy its prefix"
            return answers[30].tokens[len(asked) :]
        finally:
            context.close()

    try:
        assert text(asked, returning) == text(asked)
    finally:
        model.close()


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
