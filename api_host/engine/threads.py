"""How many threads llama.cpp gets: one for each core, as long as it has the cores to itself.

Its threads wait for each other at every operation of a step. When another process takes one of the cores, all of them
wait for whoever is not running, and a step takes ten times as long with two threads as it does with one. A thread that
waits spins for a moment and then sleeps, so the processor time of a step tells how many cores it had.

Knows times, nothing of what was decoded.
"""

from __future__ import annotations

# Steps of n threads take processor time of up to n times their duration; below this share of it, fewer threads would
# have done as much. (Two threads with two cores to themselves were seen to take 0.65 to 0.95, with one core 0.5.)
CROWDED = 0.55
# What a judgement is based on: seconds of steps, or so many of them.
WINDOW_S = 0.1
WINDOW_STEPS = 64
# Seconds until all threads are tried again; they double each time that they were too many.
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0


class Threads:
    """``n`` is the number to use, at most ``most``; ``observe`` each step where that is more than one.

    Args:
        most: one for each core that this process may use.
    """

    def __init__(self, most: int) -> None:
        self.n = most
        self.most = most
        self._pause = FIRST_PAUSE_S
        self._retry_at = 0.0
        self._seconds = self._cpu_seconds = 0.0
        self._n_steps = 0

    def observe(self, now: float, seconds: float, cpu_seconds: float) -> bool:
        """A step of ``n`` threads ended at ``now``; it took ``seconds``, and ``cpu_seconds`` of processor time.

        Returns:
            Whether ``n`` is another number from here on.
        """
        self._seconds += seconds
        self._cpu_seconds += cpu_seconds
        self._n_steps += 1
        if self._seconds < WINDOW_S and self._n_steps < WINDOW_STEPS:
            return False
        crowded = self._cpu_seconds < CROWDED * self.n * self._seconds
        self._seconds = self._cpu_seconds = 0.0
        self._n_steps = 0
        before, self.n = self.n, self._chosen(now, crowded)
        return self.n != before

    def _chosen(self, now: float, crowded: bool) -> int:
        if crowded:
            if self.n == self.most:
                self._retry_at = now + self._pause
                self._pause = min(LONGEST_PAUSE_S, 2 * self._pause)
            return max(1, self.n - max(1, self.n // 4))
        if self.n == self.most:
            self._pause = FIRST_PAUSE_S
            return self.n
        return self.most if now >= self._retry_at else self.n
