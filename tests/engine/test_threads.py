"""How many threads: all that have a core, fewer while another process takes one, all again when it is gone."""

from __future__ import annotations

from api_host.engine.threads import FIRST_PAUSE_S, LONGEST_PAUSE_S, WINDOW_S, Threads


class Machine:
    """Cores, of which other processes take some, and steps that take a window each."""

    def __init__(self, cores: int) -> None:
        self.cores, self.taken = cores, 0
        self.now = 0.0
        self.threads = Threads(cores)
        self.changes: list[int] = []

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.now += WINDOW_S
            wanted, free = self.threads.n, self.cores - self.taken
            # Whoever waits for a thread without a core soon sleeps.
            busy = wanted if wanted <= free else 0.3 * wanted
            if self.threads.observe(self.now, WINDOW_S, busy * WINDOW_S):
                self.changes.append(self.threads.n)


def test_a_machine_of_its_own_is_used_whole():
    machine = Machine(2)
    machine.run(100)
    assert machine.changes == []


def test_a_core_that_is_taken_is_left_alone_and_taken_back():
    machine = Machine(2)
    machine.taken = 1
    machine.run(WINDOW_S)
    assert machine.threads.n == 1
    machine.taken = 0
    machine.run(2 * FIRST_PAUSE_S)
    assert machine.changes == [1, 2]


def test_tries_become_rarer_as_long_as_they_fail():
    machine = Machine(2)
    machine.taken = 1
    machine.run(600)
    tries = machine.changes.count(2)
    assert 600 / LONGEST_PAUSE_S <= tries <= 600 / LONGEST_PAUSE_S + 8


def test_of_many_cores_few_are_given_up():
    machine = Machine(16)
    machine.taken = 1
    machine.run(FIRST_PAUSE_S)
    assert machine.changes == [12]


def test_one_thread_is_never_too_many():
    machine = Machine(1)
    machine.taken = 1
    machine.run(10)
    assert machine.changes == []


def test_short_steps_are_judged_soon():
    threads = Threads(2)
    changes = [threads.observe(step / 1000, 0.0003, 0.0003) for step in range(100)]
    assert (changes.count(True), threads.n) == (1, 1)


def test_one_slow_step_alone_is_no_reason():
    threads = Threads(2)
    assert not threads.observe(1.0, WINDOW_S / 2, 0.0)
    assert not threads.observe(2.0, WINDOW_S, 2 * 1.5 * WINDOW_S)
