"""Pieces that lie close together travel together; first pieces, ends and refusals never wait."""

from __future__ import annotations

from api_host.engine.messages import EngineStats, Piece, RequestAccepted, RequestFailed, RequestFinished, Step
from api_host.engine.outbox import TOGETHER_S, Outbox
from api_host.generation import Timings, TokenLogprob, Usage


class Line:
    """An outbox, what it has sent, and a clock that only the test moves."""

    def __init__(self) -> None:
        self.sent: list[Step] = []
        self.now = 100.0
        self.outbox = Outbox(self.sent.append, lambda: self.now)

    def put(self, *events: object, wait: bool = True) -> None:
        self.outbox.put(list(events), EngineStats(n_running=1), wait=wait)  # type: ignore[arg-type]

    def begin(self, id: int = 1) -> None:
        self.put(RequestAccepted(id, 3), piece("a", id))
        self.sent.clear()

    @property
    def texts(self) -> list[list[str]]:
        return [[event.text for event in step.events if isinstance(event, Piece)] for step in self.sent]


def piece(text: str, id: int = 1, index: int = 0, **fields: object) -> Piece:
    return Piece(id, index, text, 1, **fields)  # type: ignore[arg-type]


def test_the_first_piece_of_a_choice_goes_at_once():
    line = Line()
    line.put(RequestAccepted(1, 3), piece("a"))
    line.put(piece("b", index=1))
    assert line.texts == [["a"], ["b"]]


def test_later_pieces_wait_and_are_joined_by_choice():
    line = Line()
    line.begin(1)
    line.begin(2)
    line.sent.clear()
    line.put(piece("b", 1), piece("x", 2))
    line.now += TOGETHER_S / 2
    line.put(piece("c", 1), piece("y", 2))
    assert line.sent == []
    line.now += TOGETHER_S
    line.put(piece("d", 1), piece("z", 2))
    assert line.texts == [["bcd", "xyz"]]
    assert [event.n_tokens for event in line.sent[0].events if isinstance(event, Piece)] == [3, 3]


def test_an_end_goes_at_once_and_takes_along_what_waits():
    line = Line()
    line.begin()
    first, second = TokenLogprob("b", -1.0), TokenLogprob("c", -2.0)
    line.put(piece("b", logprobs=[first]))
    line.put(piece("c", finish_reason="stop", logprobs=[second]), RequestFinished(1, Usage(), Timings()))
    (step,) = line.sent
    assert step.events[0] == Piece(1, 0, "bc", 2, "stop", [first, second])
    assert isinstance(step.events[1], RequestFinished)


def test_nothing_waits_for_a_step_that_may_be_long():
    line = Line()
    line.begin()
    line.put(piece("b"), wait=False)
    assert line.texts == [["b"]]


def test_a_refusal_takes_along_what_waits():
    line = Line()
    line.begin()
    line.put(piece("b"))
    line.put(RequestFailed(2, "queue_full", "full"))
    assert line.texts == [["b"]]


def test_a_request_can_have_its_pieces_kept_apart():
    line = Line()
    line.outbox.keep_apart(1)
    line.begin()
    line.put(piece("b"))
    line.put(piece("c"))
    assert line.texts == [["b"], ["c"]]


def test_a_number_that_is_used_again_begins_anew():
    line = Line()
    line.begin()
    line.put(piece("", finish_reason="stop"), RequestFinished(1, Usage(), Timings()))
    line.sent.clear()
    line.put(piece("b"))
    assert line.texts == [["b"]]


def test_a_cancelled_request_leaves_nothing_behind():
    line = Line()
    line.outbox.keep_apart(1)
    line.begin()
    line.outbox.forget(1)
    line.begin()  # a first piece goes at once, as of a request that was never seen
    line.put(piece("b"))
    assert line.sent == []


def test_new_figures_are_sent_even_without_events():
    line = Line()
    line.begin()
    line.outbox.put([], EngineStats(), wait=False)
    line.outbox.put([], EngineStats(), wait=False)
    assert [step.stats for step in line.sent] == [EngineStats()]
