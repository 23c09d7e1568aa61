"""Pieces that lie close together travel together; what somebody waits for goes at once."""

from __future__ import annotations

from api_host.engine.messages import EngineStats, Piece, Step, WorkerEvent
from api_host.engine.outbox import TOGETHER_S, Outbox

PIECE = Piece(1, 0, "a", 1)


class Line:
    """A source with an outbox, what that has sent, and a clock that only the test moves."""

    def __init__(self) -> None:
        self.urgent, self.only_decodes = False, True
        self.stats = EngineStats(n_running=1)
        self.events: list[WorkerEvent] = []
        self.n_taken = 0
        self.sent: list[Step] = []
        self.now = 100.0
        self.outbox = Outbox(self, self.sent.append, lambda: self.now)

    def take_events(self) -> list[WorkerEvent]:
        self.n_taken += 1
        events, self.events = self.events, []
        return events

    def step(self, *events: WorkerEvent) -> None:
        self.events += events
        self.outbox.after_step()


def begun() -> Line:
    line = Line()
    line.step(PIECE)
    line.sent.clear()
    line.n_taken = 0
    return line


def test_pieces_wait_for_others_and_are_not_even_made_meanwhile():
    line = begun()
    line.step(PIECE)
    line.now += TOGETHER_S / 2
    line.step(PIECE)
    assert (line.sent, line.n_taken) == ([], 0)
    line.now += TOGETHER_S
    line.step(PIECE)
    assert line.sent == [Step([PIECE] * 3, line.stats)]


def test_pieces_of_many_streams_wait_longer_but_not_for_long():
    for n_running, seconds in ((1, 0.04), (8, 0.08), (100, 0.15)):
        line = Line()
        line.stats = EngineStats(n_running=n_running)
        line.step(PIECE)
        line.now += seconds - 0.001
        line.step(PIECE)
        assert len(line.sent) == 1
        line.now += 0.002
        line.step(PIECE)
        assert len(line.sent) == 2


def test_what_somebody_waits_for_goes_at_once_and_takes_along_what_waits():
    line = begun()
    line.step(PIECE)
    line.urgent = True
    line.step(PIECE)
    assert line.sent == [Step([PIECE, PIECE], line.stats)]


def test_nothing_waits_for_a_step_that_may_be_long():
    line = begun()
    line.only_decodes = False
    line.step(PIECE)
    assert line.sent == [Step([PIECE], line.stats)]


def test_new_figures_are_sent_even_without_events():
    line = begun()
    line.only_decodes = False
    line.stats = EngineStats()
    line.step()
    line.step()
    assert line.sent == [Step([], EngineStats())]
