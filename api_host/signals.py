"""Ctrl-C and SIGTERM as something to wait for, instead of exceptions that break into whatever runs at that moment.

Knows nothing of hosts. Python runs a handler only between two instructions of the main thread, which may be asleep
when another thread gets the signal; the byte that the interpreter writes to the wake-up socket always arrives.
"""

from __future__ import annotations

import signal
import socket
import threading
from types import FrameType, TracebackType
from typing import Any

CAUGHT = (signal.SIGINT, signal.SIGTERM)
_WOKEN = 0


class SignalWatch:
    """Catches the two signals while it is entered, in the main thread; elsewhere it can only be woken.

    A second signal, from somebody who does not want to wait, raises KeyboardInterrupt. ``woken`` is whether ``wake``
    has ended the waiting.
    """

    def __init__(self) -> None:
        self.woken = False
        self._n_seen = 0
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> SignalWatch:
        self._read, self._write = socket.socketpair()
        self._write.setblocking(False)
        if threading.current_thread() is threading.main_thread():
            self._fd_before = signal.set_wakeup_fd(self._write.fileno(), warn_on_full_buffer=False)
            self._before = {number: signal.signal(number, self._note) for number in CAUGHT}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self._before:
            signal.set_wakeup_fd(self._fd_before)
        self._read.close()
        self._write.close()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._n_seen += 1
        if self._n_seen > 1:
            raise KeyboardInterrupt

    def wait(self) -> int:
        """Sleeps until a signal has come, since entering, or ``wake``; returns the signal's number, or 0."""
        while True:
            (number,) = self._read.recv(1)
            if number == _WOKEN or number in CAUGHT:
                self.woken = number == _WOKEN
                return int(number)

    def wake(self) -> None:
        """Ends the waiting, from any thread."""
        try:
            self._write.send(bytes([_WOKEN]))
        except (BlockingIOError, OSError):
            return  # full, so there is something to read; or closed, so nobody waits
