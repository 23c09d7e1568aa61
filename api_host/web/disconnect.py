"""Noticing that a client has gone while its answer is still being made.

Knows sockets only, nothing of HTTP: one thread waits on all watched sockets at once and calls back within
milliseconds of a close. A watch begins a moment late: most requests are over by then, and have cost no system call.
A client that sends more bytes (pipelining) can no longer be watched this way; its going is noticed by the next write.
"""

from __future__ import annotations

import contextlib
import logging
import selectors
import socket
import threading
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

# epoll and kqueue see sockets that are added during a wait; other selectors have to look again.
_RELOOK_S = 0.2
# A watch begins after once to twice this time.
GATHER_S = 0.05
_PEEK = socket.MSG_PEEK | getattr(socket, "MSG_DONTWAIT", 0)


class Watch:
    """One watched socket; ``end()`` it before the socket is closed."""

    def __init__(self, owner: DisconnectWatch, sock: socket.socket, gone: Callable[[], None]) -> None:
        self._owner = owner
        self.sock = sock
        self.gone = gone
        self.registered = False

    def end(self) -> None:
        """Stops watching; may be called again. ``gone`` is not called any more once this has returned."""
        self._owner.forget(self)


class DisconnectWatch:
    """Watches the sockets of running requests from one thread; ``start()`` and ``stop()`` it once."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._lock = threading.RLock()
        self._stopping = False
        # In the order in which they came; the values say nothing.
        self._newcomers: dict[Watch, None] = {}
        self._waiting: dict[Watch, None] = {}
        # Whether the thread looks at newcomers soon, without being woken; and whether any has come since it last did.
        self._gathering = False
        self._any_came = False
        self._wake, self._woken = socket.socketpair()
        self._selector.register(self._woken, selectors.EVENT_READ)
        immediate = ("EpollSelector", "KqueueSelector")
        self._timeout = None if type(self._selector).__name__ in immediate else _RELOOK_S
        self._thread = threading.Thread(target=self._run, name="api-host-disconnect", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread; sockets still watched are left alone."""
        with self._lock:
            self._stopping = True
            self._wake.send(b"x")
        self._thread.join()
        self._selector.close()
        self._wake.close()
        self._woken.close()

    def watch(self, sock: socket.socket, gone: Callable[[], None]) -> Watch:
        """Calls ``gone`` once, from the watching thread, when the other side of ``sock`` closes or resets.

        Args:
            sock: a socket nobody else reads from meanwhile; it stays the caller's to close.
            gone: returns soon and does not raise.
        """
        entry = Watch(self, sock, gone)
        with self._lock:
            self._newcomers[entry] = None
            self._any_came = True
            if not self._gathering and not self._stopping:
                self._gathering = True
                self._wake.send(b"x")
        return entry

    def forget(self, entry: Watch) -> None:
        with self._lock:
            self._newcomers.pop(entry, None)
            self._waiting.pop(entry, None)
            self._unregister(entry)

    def _run(self) -> None:
        gathered_at: float | None = None
        while not self._stopping:
            for key, _ in self._selector.select(self._patience(gathered_at)):
                if key.data is not None:
                    self._look(key.data)
                else:
                    self._woken.recv(1)
                    gathered_at = time.monotonic() + GATHER_S
            if gathered_at is not None and time.monotonic() >= gathered_at:
                gathered_at = time.monotonic() + GATHER_S if self._take_in() else None

    def _patience(self, gathered_at: float | None) -> float | None:
        return self._timeout if gathered_at is None else max(0.0, gathered_at - time.monotonic())

    def _take_in(self) -> bool:
        """Begins to watch those that were newcomers the last time and have not ended; whether there are new ones."""
        with self._lock:
            for entry in self._waiting:
                self._register(entry)
            self._waiting, self._newcomers = self._newcomers, {}
            self._gathering, self._any_came = self._any_came, False
            return self._gathering

    def _register(self, entry: Watch) -> None:
        try:
            try:
                self._selector.register(entry.sock, selectors.EVENT_READ, entry)
            except KeyError:
                # Here is still a request whose watch nobody has ended.
                self._selector.unregister(entry.sock).data.registered = False
                self._selector.register(entry.sock, selectors.EVENT_READ, entry)
            entry.registered = True
        except (OSError, ValueError):
            log.warning("a client's socket was closed before its watch had ended")

    def _unregister(self, entry: Watch) -> None:
        if entry.registered:
            entry.registered = False
            with contextlib.suppress(KeyError, ValueError, RuntimeError):
                self._selector.unregister(entry.sock)

    def _look(self, entry: Watch) -> None:
        with self._lock:
            if not entry.registered:
                return
            try:
                more = entry.sock.recv(1, _PEEK)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                more = b""
            self._unregister(entry)
            if not more:
                self._tell(entry)

    def _tell(self, entry: Watch) -> None:
        try:
            entry.gone()
        except Exception:
            log.exception("cancelling a request whose client has gone failed")
