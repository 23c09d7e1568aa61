"""Random traffic over real cells: whatever was shared, copied, parked, guessed or cancelled, each token is drawn from
the logits that a fresh context has for its text.

Wrong cells move logits by about their spread; a prompt read in other pieces moves them by a tenth of that at most.
"""

from __future__ import annotations

import random
from array import array
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from api_host.engine.backend import Adapters, Span
from api_host.engine.llama.context import LlamaContext
from api_host.engine.llama.model import LlamaModel
from api_host.engine.llama.sampler import LlamaSampler
from api_host.engine.lookup import PromptLookup
from api_host.engine.messages import RequestFailed, RequestFinished
from api_host.engine.scheduler import Scheduler
from api_host.engine.sequence import Request, Sequence
from api_host.generation import SamplingParams
from api_host.models.demo import DEMO_MODEL_PATH
from tests.fakes.architectures import N_CTX, write_adapter, write_random

ROUNDING = 0.12
N_ROUNDS = 12
N_REQUESTS = 40
N_BURSTS = 9
TOKENS = range(300, 690)
# Half of gemma3's layers have a window, so that cells are lost in one half and kept in the other.
HEADERS: dict[str, dict[str, int | list[bool]]] = {"gemma3": {"gemma3.attention.sliding_window_pattern": 2}}


class Checked(LlamaContext):
    """A context whose logits are compared: all those of first tokens, and some of the others."""

    def __init__(self, model: LlamaModel, dice: random.Random, n_guessed: int, **sizes: int) -> None:
        super().__init__(model, n_threads=1, n_outputs=1 + n_guessed, **sizes)
        self.running: list[Request] = []
        self.n_checked = self.n_beside = 0
        self._dice = dice
        self._fresh = LlamaContext(model, n_ctx=N_CTX, n_slots=1, n_batch=512, n_threads=1)

    def decode(self, spans: Iterable[Span], adapters: Adapters = ()) -> None:
        spans = list(spans)
        super().decode(spans, adapters)
        for span in spans:
            sequence = self._sequence_in(span.slot)
            if span.n_outputs and (sequence.n_generated == 0 or self._dice.random() < 0.05):
                self._check(span, sequence, adapters)

    def _sequence_in(self, slot: int) -> Sequence:
        (found,) = (one for request in self.running for one in request.sequences if one.slot == slot)
        return found

    def _check(self, span: Span, sequence: Sequence, adapters: Adapters) -> None:
        nth = self._dice.randrange(span.n_outputs)
        n_read = len(span.tokens) - span.n_outputs + 1 + nth
        text = sequence.tokens[: span.start] + span.tokens[:n_read]
        found = self.logits(span.row + nth).copy()
        wanted = self._fresh_logits(text, adapters)
        off = np.abs(found - wanted).max() / wanted.std()
        assert off < ROUNDING, f"{off} after {len(text)} tokens, of which {sequence.n_cached} were there"
        self.n_checked += 1
        self.n_beside += span.row < 0

    def _fresh_logits(self, text: array[int], adapters: Adapters) -> np.ndarray:
        self._fresh.clear(0)
        self._fresh.adapters.load(adapters)
        for begin in range(0, len(text), 512):
            span = Span(0, text[begin : begin + 512], begin, n_outputs=int(begin + 512 >= len(text)))
            self._fresh.decode([span], adapters)
        return self._fresh.logits(span.row)

    def close(self) -> None:
        super().close()
        self._fresh.close()


class Bursts:
    """Rows behind the same instructions, as many at once as there are slots."""

    def __init__(self, context: Checked, scheduler: Scheduler, dice: random.Random) -> None:
        self._context, self._scheduler, self._dice = context, scheduler, dice

    def run(self) -> None:
        instructions = array("i")
        for burst in range(N_BURSTS):
            if burst % 3 == 0:
                instructions = self._words(self._dice.randint(256, 700))
            for row in range(self._context.n_slots):
                self._send(10 * burst + row, instructions + self._words(self._dice.randint(8, 60)))
            while self._scheduler.has_work:
                self._scheduler.step()
                assert not any(isinstance(event, RequestFailed) for event in self._scheduler.take_events())
            self._context.running.clear()

    def _send(self, id: int, prompt: array[int]) -> None:
        params = SamplingParams(max_tokens=self._dice.randint(1, 12), top_k=1, ignore_eos=True)
        request = Request(id, prompt, params, [], self._context.n_ctx)
        self._context.running.append(request)
        self._scheduler.submit(request)

    def _words(self, n: int) -> array[int]:
        return array("i", self._dice.choices(TOKENS, k=n))


class Traffic:
    """Requests that go on from texts that were there before, come in bursts, and may be cancelled."""

    def __init__(
        self, context: Checked, scheduler: Scheduler, dice: random.Random, sets: list[Adapters]
    ) -> None:
        self._context, self._scheduler, self._dice, self._sets = context, scheduler, dice, sets
        self._texts = [self._words(dice.randint(1, context.n_ctx - 60)) for _ in range(4)]
        self._open: dict[int, Request] = {}
        self.n_cached = 0

    def run(self) -> None:
        n_sent = 0
        while n_sent < N_REQUESTS or self._scheduler.has_work:
            if n_sent < N_REQUESTS and (not self._scheduler.has_work or self._dice.random() < 0.25):
                for _ in range(self._dice.choice([1, 1, 2, 3, 6])):
                    self._send(n_sent)
                    n_sent += 1
            self._scheduler.step()
            self._finish()
            if self._open and self._dice.random() < 0.03:
                id = self._dice.choice(list(self._open))
                self._scheduler.cancel(id)
                self._context.running.remove(self._open.pop(id))
        assert not self._open

    def _send(self, id: int) -> None:
        dice = self._dice
        text = dice.choice(self._texts)
        kept = dice.choice([0, len(text), len(text) - 1, dice.randint(0, len(text))])
        prompt = (text[:kept] + self._words(dice.choice([1, 2, dice.randint(1, 80)])))[
            : self._context.n_ctx - 2
        ]
        params = SamplingParams(
            max_tokens=dice.choice([1, dice.randint(1, 40)]),
            top_k=1,
            ignore_eos=True,
            n=dice.choice([1, 1, 1, 3]),
        )
        request = Request(id, prompt, params, [], self._context.n_ctx, adapters=dice.choice(self._sets))
        self._context.adapters.load(request.adapters)
        self._context.running.append(request)
        self._open[id] = request
        self._scheduler.submit(request)

    def _finish(self) -> None:
        for event in self._scheduler.take_events():
            assert not isinstance(event, RequestFailed)
            if isinstance(event, RequestFinished):
                request = self._open.pop(event.id)
                self._context.running.remove(request)
                room = self._context.n_ctx - len(request.prompt)
                for sequence in request.sequences:
                    assert sequence.n_generated == min(request.sampling.max_tokens, room)
                    self.n_cached += sequence.n_cached
                self._texts[self._dice.randrange(len(self._texts))] = sequence.tokens

    def _words(self, n: int) -> array[int]:
        return array("i", self._dice.choices(TOKENS, k=n))


def one_round(model: LlamaModel, dice: random.Random, sets: list[Adapters]) -> tuple[int, int]:
    """How many logits were compared, and how many tokens of prompts were there already."""
    guesses = dice.random() < 0.3
    context = Checked(
        model,
        dice,
        n_guessed=8 if guesses else 0,
        n_ctx=dice.choice([256, 512, N_CTX]),
        n_slots=dice.randint(1, 5),
        n_batch=dice.choice([32, 64, 256, 512]),
    )
    now, pace = 0.0, dice.choice([1e-4, 1e-3, 1e-2, 0.1])

    def clock() -> float:
        """Steps of any length, so that prompts are read in pieces of any length."""
        nonlocal now
        now += dice.random() * pace
        return now

    scheduler = Scheduler(
        context,
        model,
        partial(LlamaSampler, context),
        queue_limit=2 * N_REQUESTS,
        guesser=PromptLookup() if guesses else None,
        prefix_memory=dice.choice([0, 200_000, 2_000_000, 1 << 28]),
        clock=clock,
    )
    traffic = Traffic(context, scheduler, dice, sets)
    try:
        traffic.run()
    finally:
        context.close()
    return context.n_checked, traffic.n_cached


@pytest.mark.parametrize("name", ["llama", "gemma3", "mamba", "lfm2"])
def test_whatever_came_before_logits_are_those_of_a_fresh_context(name: str, tmp_path: Path) -> None:
    model = LlamaModel(
        str(write_random(tmp_path / "model.gguf", name, DEMO_MODEL_PATH, header=HEADERS.get(name)))
    )
    sets: list[Any] = [()]
    if name == "gemma3":
        adapter = tmp_path / "adapter.gguf"
        write_adapter(adapter)
        sets += [(), ((str(adapter), 1.0),), ((str(adapter), 0.5),)]
    try:
        rounds = [one_round(model, random.Random(seed), sets) for seed in range(N_ROUNDS)]
    finally:
        model.close()
    n_checked, n_cached = (sum(each) for each in zip(*rounds, strict=True))
    assert n_checked > 300
    assert n_cached > 1000


def test_ends_read_together_have_the_logits_of_a_fresh_context(tmp_path: Path) -> None:
    model = LlamaModel(str(write_random(tmp_path / "model.gguf", "llama", DEMO_MODEL_PATH)))
    dice = random.Random(1)
    context = Checked(model, dice, n_guessed=0, n_ctx=N_CTX, n_slots=6, n_batch=512)
    scheduler = Scheduler(context, model, partial(LlamaSampler, context))
    try:
        Bursts(context, scheduler, dice).run()
    finally:
        context.close()
        model.close()
    assert context.n_beside > N_BURSTS
