"""Which slot a prompt gets, and how long the common prefix is."""

from __future__ import annotations

from array import array

from api_host.engine.detokenizer import Detokenizer
from api_host.engine.parking import Parking
from api_host.engine.scheduler import Scheduler
from api_host.engine.sequence import Request, Sequence
from api_host.engine.slots import Slots
from api_host.engine.transcript import Transcript
from api_host.generation import SamplingParams
from tests.fakes.llama import FakeLlama, FakeSampler


def sequence_of(request: Request) -> Sequence:
    return Sequence(request, 0, Transcript(request.id, 0, Detokenizer(), lambda token: b"?"))


def placed(slots: Slots, llama: FakeLlama, tokens: list[int]) -> Sequence:
    """A sequence that got its slot and whose prompt has been read."""
    sequence = sequence_of(Request(1, array("i", tokens), SamplingParams(), [], 256))
    slots.place(sequence)
    slot = slots[sequence.slot]
    slot.tokens = array("i", tokens)
    llama.cells[slot.id] = list(tokens)
    sequence.n_computed = len(tokens)
    return sequence


def test_a_short_common_prefix_leaves_a_long_cached_prompt_alone():
    llama = FakeLlama(n_slots=2)
    slots = Slots(llama, Parking(0))
    long = list(range(1, 61)) * 3
    slots.release(placed(slots, llama, long))
    other = placed(slots, llama, [1, 2, 3, 99])
    assert other.slot == 1
    assert slots[0].tokens == array("i", long)


def test_the_longest_unused_prefix_is_given_up_first():
    llama = FakeLlama(n_slots=2)
    slots = Slots(llama, Parking(0))
    first, second = placed(slots, llama, [1] * 40), placed(slots, llama, [2] * 40)
    slots.release(second)
    slots.release(first)
    third = placed(slots, llama, [3] * 40)
    assert third.slot == 1


def test_a_prompt_that_goes_on_from_a_slot_stays_in_it():
    llama = FakeLlama(n_slots=3)
    slots = Slots(llama, Parking(0))
    turns = [placed(slots, llama, [i] * 30) for i in (1, 2, 3)]
    for turn in turns:
        slots.release(turn)
    following = placed(slots, llama, [2] * 30 + [7, 8])
    assert following.slot == 1
    assert following.n_cached == 30
    assert llama.n_copies == 0


def test_a_chat_whose_end_is_told_otherwise_stays_in_its_slot():
    llama = FakeLlama(n_slots=3)
    slots = Slots(llama, Parking(0))
    chat = list(range(1, 61)) * 2
    slots.release(placed(slots, llama, chat))
    following = placed(slots, llama, [*chat[:80], 99, 98])
    assert (following.slot, following.n_cached, llama.n_copies) == (0, 80, 0)


def test_a_long_prefix_outlives_short_ones_that_came_later():
    llama = FakeLlama(n_slots=3)
    slots = Slots(llama, Parking(0))
    long, *short = (placed(slots, llama, [i] * n) for i, n in ((1, 200), (2, 10), (3, 12)))
    for sequence in (long, *short):
        slots.release(sequence)
    assert placed(slots, llama, [4] * 20).slot == 1


def test_what_another_slot_holds_too_is_worth_nothing():
    llama = FakeLlama(n_slots=3)
    slots = Slots(llama, Parking(0))
    shared = list(range(1, 101))
    for sequence in [placed(slots, llama, tokens) for tokens in (shared, [*shared, 7], [9] * 20)]:
        slots.release(sequence)
    assert placed(slots, llama, [4] * 20).slot == 0


def parked_and_pushed_out(parking: Parking) -> tuple[Slots, FakeLlama, list[int]]:
    """Two slots, and a chat of 180 tokens that two others have pushed out."""
    llama = FakeLlama(n_slots=2)
    slots = Slots(llama, parking)
    chat = list(range(1, 61)) * 3
    slots.release(placed(slots, llama, chat))
    others = [placed(slots, llama, [i] * 150) for i in (90, 91)]
    for other in others:
        slots.release(other)
    return slots, llama, chat


def test_a_chat_that_lost_its_slot_comes_back_by_a_copy():
    slots, llama, chat = parked_and_pushed_out(Parking(1000))
    back = sequence_of(Request(1, array("i", [*chat, 5, 6]), SamplingParams(), [], 256))
    slots.place(back)
    assert back.n_cached == len(chat)
    assert llama.cells[back.slot] == chat


def test_a_prefix_is_parked_only_within_the_budget_and_only_when_most_of_it_would_be_lost():
    slots, llama, chat = parked_and_pushed_out(Parking(100))
    assert llama.n_saves == 0
    back = sequence_of(Request(1, array("i", [*chat, 5]), SamplingParams(), [], 256))
    slots.place(back)
    assert back.n_cached == 0
    llama = FakeLlama(n_slots=1)
    slots = Slots(llama, Parking(1000))
    slots.release(placed(slots, llama, chat))
    slots.release(placed(slots, llama, [*chat[:120], 99, 98]))
    assert llama.n_saves == 0


def test_the_budget_holds_and_the_longest_unused_goes_first():
    parking = Parking(500)
    for i in range(5):
        tokens = array("i", [i] * 200)
        assert parking.park(tokens, (), 200, lambda i=i: [i] * 200)
        assert parking.n_bytes <= 500
    lengths = [parking.best(array("i", [i] * 200), ())[1] for i in range(5)]
    assert lengths == [0, 0, 0, 200, 200]


def test_a_longer_form_of_a_chat_replaces_the_shorter_one():
    parking = Parking(1000)
    parking.park(array("i", [1] * 100), (), 100, lambda: [1] * 100)
    parking.park(array("i", [1] * 150), (), 150, lambda: [1] * 150)
    assert parking.n_bytes == 150


def test_parked_cells_made_with_an_adapter_serve_no_other():
    slots, _, chat = parked_and_pushed_out(Parking(1000))
    other = Request(1, array("i", [*chat, 5]), SamplingParams(), [], 256, adapters=(("a.gguf", 1.0),))
    back = sequence_of(other)
    slots.place(back)
    assert back.n_cached == 0


def test_a_parked_prefix_comes_back_although_the_slots_own_would_push_it_out():
    slots, llama, chat = parked_and_pushed_out(Parking(200))
    back = sequence_of(Request(1, array("i", [*chat, 5, 6]), SamplingParams(), [], 256))
    slots.place(back)
    assert back.n_cached == len(chat)
    assert llama.n_saves == 2


def test_short_prompts_close_the_row_of_running_slots_and_leave_a_long_prefix_alone():
    llama = FakeLlama(n_slots=6)
    slots = Slots(llama, Parking(0))
    running = [placed(slots, llama, [i] * n) for i, n in ((1, 10), (2, 200), (3, 10), (4, 10), (5, 10))]
    for sequence in running[1:4]:
        slots.release(sequence)
    assert [placed(slots, llama, [i] * 10).slot for i in (6, 7, 8)] == [2, 3, 5]
    assert len(slots[1].tokens) == 200


def test_a_row_of_running_slots_grows_upwards_and_then_downwards():
    llama = FakeLlama(n_slots=5)
    slots = Slots(llama, Parking(0))
    running = [placed(slots, llama, [i] * 10) for i in range(1, 6)]
    for i in (0, 1, 3, 4):
        slots.release(running[i])
    assert [placed(slots, llama, [i] * 10).slot for i in range(6, 10)] == [3, 4, 1, 0]


def test_the_row_goes_before_a_little_more_that_is_lost_and_not_before_much():
    llama = FakeLlama(n_slots=4)
    slots = Slots(llama, Parking(0))
    running = [placed(slots, llama, [i] * n) for i, n in ((1, 10), (2, 250), (3, 120), (4, 100))]
    for sequence in running[1:]:
        slots.release(sequence)
    assert placed(slots, llama, [5] * 10).slot == 2


def test_a_prompt_that_begins_like_several_chats_pushes_out_none_where_a_slot_is_empty():
    llama = FakeLlama(n_slots=4)
    slots = Slots(llama, Parking(0))
    instructions = list(range(1, 101))
    chats = [[*instructions, *[i] * 60] for i in (7, 8)]
    for sequence in [placed(slots, llama, chat) for chat in chats]:
        slots.release(sequence)
    another = sequence_of(Request(1, array("i", [*instructions, 9]), SamplingParams(), [], 256))
    slots.place(another)
    assert another.n_cached == 100
    assert [slots[i].tokens.tolist() for i in (0, 1)] == chats


def test_a_long_prefix_stays_however_many_short_prompts_follow():
    llama = FakeLlama(n_slots=4)
    slots = Slots(llama, Parking(0))
    slots.release(placed(slots, llama, [1] * 200))
    for i in range(2, 100):
        slots.release(placed(slots, llama, [i] * 10))
    assert len(slots[0].tokens) == 200


def test_short_prompts_one_after_another_run_in_slots_without_a_gap():
    llama = FakeLlama(n_slots=16)
    scheduler = Scheduler(llama, llama, lambda params, prompt, index: FakeSampler(llama))
    before = 0
    for n_at_once, most in ((16, 16), (4, 300)):
        before, n_submitted = len(llama.batches), 0
        while n_submitted < most or scheduler.has_work:
            if n_submitted < most and scheduler.stats.n_running + scheduler.stats.n_waiting < n_at_once:
                prompt = array("i", [1, 2, 3, 4, 5, 6, 7, 8, n_submitted % 50, 9])
                params = SamplingParams(max_tokens=16 + n_submitted * 7 % 20)
                scheduler.submit(Request(n_submitted, prompt, params, [], 256))
                n_submitted += 1
            else:
                scheduler.step()
    full = [[span.slot for span in batch] for batch in llama.batches[before:] if len(batch) == 4]
    assert len(full) > 500
    assert all(slots == list(range(slots[0], slots[0] + 4)) for slots in full)


def test_a_short_answer_gives_up_no_prefix_for_a_row_without_a_gap():
    llama = FakeLlama(n_slots=4)
    slots = Slots(llama, Parking(0))
    for sequence in [placed(slots, llama, [i] * 20) for i in range(4)]:
        slots.release(sequence)
    placed(slots, llama, [0] * 20 + [9])
    short = sequence_of(Request(2, array("i", [3] * 20 + [9]), SamplingParams(max_tokens=1), [], 256))
    long = sequence_of(Request(3, array("i", [2] * 20 + [9]), SamplingParams(max_tokens=100), [], 256))
    slots.place(short)
    slots.place(long)
    assert (short.slot, short.n_cached) == (3, 20)
    assert long.slot == 1


def test_chats_with_the_same_instructions_each_keep_their_slot_while_others_are_empty():
    llama = FakeLlama(n_ctx=2000, n_slots=4)
    slots = Slots(llama, Parking(0))
    chats = {who: list(range(1, 301)) for who in (501, 502)}
    n_read = []
    for turn in range(4):
        for who, chat in chats.items():
            chat.extend([who] * 100)
            sequence = sequence_of(Request(1, array("i", [*chat, turn]), SamplingParams(), [], 2000))
            slots.place(sequence)
            n_read.append(len(sequence.tokens) - sequence.n_cached)
            slots[sequence.slot].tokens = array("i", chat)
            llama.cells[sequence.slot] = list(chat)
            slots.release(sequence)
    assert n_read == [401] + [101] * 7


def test_a_prefix_returns_from_host_memory_once_the_copies_out_of_its_slot_are_made():
    """llama.cpp copies cells with the next decode, and puts back a state at once."""
    llama = FakeLlama(n_slots=2, n_ctx=1024)
    slots = Slots(llama, Parking(1 << 20))
    instructions, gone, other = [1] * 200, [2] * 300, [3] * 150
    for prompt in (gone, instructions + [4] * 400, other):
        slots.release(placed(slots, llama, prompt))
    copied = sequence_of(Request(2, array("i", [*instructions, 5]), SamplingParams(), [], 1024))
    returning = sequence_of(Request(3, array("i", [*gone, 6]), SamplingParams(), [], 1024))
    assert slots.place(copied) and llama.copying
    assert not slots.place(returning) and returning.slot is None
    llama.decode([])
    assert slots.place(returning)
    assert (copied.n_cached, returning.n_cached) == (200, 300)
    assert {copied.slot, returning.slot} == {0, 1}
