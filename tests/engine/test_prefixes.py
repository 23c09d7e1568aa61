"""The longest common prefix is found, the same as by comparing with all, and with few comparisons."""

from __future__ import annotations

import random
from array import array

import pytest

from api_host.engine import prefixes
from api_host.engine.backend import Adapters
from api_host.engine.detokenizer import Detokenizer
from api_host.engine.parking import Parking
from api_host.engine.prefixes import Prefixes, common_prefix
from api_host.engine.sequence import Request, Sequence
from api_host.engine.slots import MIN_AWAITED, MIN_PARKED, Slots
from api_host.engine.transcript import Transcript
from api_host.generation import SamplingParams
from tests.fakes.llama import FakeLlama

N_CTX = 4096


@pytest.mark.parametrize(
    ("a", "b", "length"),
    [
        ([], [], 0),
        ([1], [], 0),
        ([1, 2, 3], [1, 2, 3], 3),
        ([1, 2, 3], [1, 2], 2),
        ([9, 2, 3], [1, 2, 3], 0),
        (list(range(5000)), [*range(4321), -1, *range(600)], 4321),
    ],
)
def test_the_common_prefix_is_exact(a: list[int], b: list[int], length: int):
    assert common_prefix(array("i", a).tobytes(), array("i", b).tobytes()) == length


def in_common(a: array[int], b: array[int]) -> int:
    """The obvious way."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


class Texts:
    """Random texts that begin alike, up to some point."""

    def __init__(self, seed: int, longest: int) -> None:
        self.random = random.Random(seed)
        self.longest = longest
        self.made = [array("i")]

    def one(self) -> array[int]:
        begun = self.random.choice(self.made[-30:])
        begun = begun[: self.random.choice([len(begun), self.random.randint(0, len(begun))])]
        more = self.random.choice([0, 1, 10, self.longest // 4, self.longest])
        more = self.random.randint(0, min(more, self.longest - len(begun)))
        # Also numbers of which some bytes are the same, in either order.
        begun.extend(self.random.choices([1, 2, 257, 256, 1 << 24, -1], k=more))
        self.made.append(begun)
        return begun

    def adapters(self) -> Adapters:
        return self.random.choice([(), (), (("a.gguf", 1.0),), (("a.gguf", 0.5),)])


@pytest.mark.parametrize("seed", range(5))
def test_prefixes_say_what_comparing_with_all_says(seed: int):
    texts = Texts(seed, longest=60)
    index = Prefixes()
    held: dict[int, tuple[array[int], Adapters]] = {}
    for _ in range(400):
        holder = texts.random.randrange(12)
        if texts.random.random() < 0.2:
            index.drop(holder)
            held.pop(holder, None)
        else:
            held[holder] = texts.one(), texts.adapters()
            index.put(holder, *held[holder])
        text, adapters = texts.one(), texts.adapters()
        expected = {h: in_common(t, text) for h, (t, made) in held.items() if made == adapters}
        found = list(index.nearest(text, adapters))
        assert dict(found) == {h: length for h, length in expected.items() if length}
        assert [length for _, length in found] == sorted(dict(found).values(), reverse=True)
        for holder, (text, adapters) in held.items():
            others = [in_common(t, text) for h, (t, made) in held.items() if h != holder and made == adapters]
            assert index.n_own(holder) == len(text) - max(others, default=0)


def sequence_of(tokens: array[int], adapters: Adapters = ()) -> Sequence:
    request = Request(1, tokens, SamplingParams(), [], N_CTX, adapters=adapters)
    return Sequence(request, 0, Transcript(1, 0, Detokenizer(), lambda token: b"?"))


class House:
    """Slots, parked prefixes, and who runs, read and written by hand."""

    def __init__(self, seed: int, can_trim: bool) -> None:
        self.texts = Texts(seed, longest=500)
        self.llama = FakeLlama(n_ctx=N_CTX, n_slots=5, can_trim=can_trim)
        self.parking = Parking(2500)
        self.slots = Slots(self.llama, self.parking)
        self.running: list[Sequence] = []

    def go_on(self, sequence: Sequence) -> None:
        """Some of its prompt is read, or all of it and some tokens are written."""
        if sequence.leader is not None and not self.slots.take_shared(sequence):
            return
        rest = sequence.tokens[sequence.n_computed :]
        if self.texts.random.random() < 0.5:
            rest = rest[: len(rest) // 2]
        else:
            written = array("i", self.texts.random.choices([1, 2], k=5))
            sequence.tokens.extend(written)
            rest.extend(written)
        slot = self.slots[sequence.slot]
        self.llama.cells[slot.id].extend(rest)
        slot.tokens.extend(rest)
        sequence.n_computed += len(rest)

    def end(self, sequence: Sequence) -> None:
        """Its cells are what a later prompt may go on from."""
        self.texts.made.append(sequence.tokens[: min(sequence.n_computed, 500)])
        self.slots.release(sequence)

    def expected(self, sequence: Sequence) -> tuple[int, int, int]:
        """By comparing with all: the longest prefix in a slot, in a prompt that is being read, and parked."""
        prompt, adapters = sequence.tokens[:-1], sequence.request.adapters
        here, awaited = [0], [0]
        for slot in map(self.slots.__getitem__, range(self.llama.n_slots)):
            if slot.adapters != adapters:
                continue
            cells = slot.tokens
            if slot.sequence is not None:
                asked = slot.sequence.request.prompt
                awaited.append(in_common(asked, prompt) if self.llama.can_trim else 0)
                cells = cells[: len(asked)] if self.llama.can_trim or len(cells) <= len(asked) else array("i")
            here.append(self.usable(cells, prompt))
        parked = [
            self.usable(p.tokens, prompt) for p in self.parking._parked.values() if p.adapters == adapters
        ]
        return max(here), max(awaited), max(parked, default=0)

    def usable(self, cells: array[int], prompt: array[int]) -> int:
        length = in_common(cells, prompt)
        return length if self.llama.can_trim or length == len(cells) else 0


@pytest.mark.parametrize("can_trim", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_a_sequence_gets_what_comparing_with_all_finds(seed: int, can_trim: bool):
    house = House(seed, can_trim)
    seen = {"here": 0, "awaited": 0, "parked": 0}
    for _ in range(600):
        for sequence in house.running:
            if house.texts.random.random() < 0.5:
                house.go_on(sequence)
        while house.running and (len(house.running) == 5 or house.texts.random.random() < 0.3):
            house.end(house.running.pop(house.texts.random.randrange(len(house.running))))
        sequence = sequence_of(house.texts.one() + array("i", [3]), house.texts.adapters())
        here, awaited, parked = house.expected(sequence)
        house.llama.decode([])
        assert house.slots.place(sequence)
        house.running.append(sequence)
        assert house.slots[sequence.slot].tokens == sequence.tokens[: sequence.n_cached]
        assert house.llama.cells[sequence.slot] == sequence.tokens[: sequence.n_cached].tolist()
        waits = awaited >= here + MIN_AWAITED
        if parked >= (awaited if waits else here) + MIN_PARKED:
            assert sequence.n_cached == parked
            seen["parked"] += 1
        elif waits:
            assert sequence.leader is not None and sequence.n_shared == awaited
            seen["awaited"] += 1
        else:
            assert here - house.llama.min_copied < sequence.n_cached <= here
            seen["here"] += here > 0
    assert seen["here"] and seen["parked"] and (seen["awaited"] or not can_trim)


def test_with_hundreds_parked_a_prompt_is_compared_with_few(monkeypatch: pytest.MonkeyPatch):
    parking = Parking(1 << 30)
    llama = FakeLlama(n_ctx=4000, n_slots=16)
    slots = Slots(llama, parking)
    chats = [array("i", [i % 10] * 1000 + [i] * 2000) for i in range(316)]
    for chat in chats:
        parking.park(chat, (), 1, lambda chat=chat: chat.tolist())
    for chat in chats[:16]:
        slots.place(sequence_of(chat + array("i", [-1])))
    n_compared = 0

    def counting(a: bytes, b: bytes) -> int:
        nonlocal n_compared
        n_compared += 1
        return common_prefix(a, b)

    monkeypatch.setattr(prefixes, "common_prefix", counting)
    for chat in chats[200:210]:
        slots.release(slots[3].sequence)
        sequence = sequence_of(chat + array("i", [-1]))
        slots.place(sequence)
        assert sequence.n_cached == 3000
    assert n_compared <= 10 * 18
