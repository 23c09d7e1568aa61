"""The worker process of one loaded model: receive, step, send (``python -m api_host.engine.worker FD``).

Knows nothing of HTTP or of the hub. It ends when the host closes its end of the socket pair.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import os
import select
import signal
import socket
import sys
import threading
import time

from api_host.engine.engine import Engine
from api_host.engine.loader import load_model
from api_host.engine.messages import (
    LOADED_LINE,
    RECEIVE_BYTES,
    FrameReader,
    Load,
    Loaded,
    LoadFailed,
    ToWorker,
    send,
    to_worker_decoder,
)
from api_host.engine.outbox import Outbox
from api_host.errors import ApiHostError

# Seconds that a step may still take when the host has gone.
LAST_STEP_S = 5.0
# That the other end writes no more; where the system cannot tell, that it is closed.
_HUNG_UP = getattr(select, "POLLRDHUP", select.POLLHUP)


class HostGone(Exception):
    """The host closed its end, whether it wants this process to end or has ended itself."""


class Inbox:
    """The messages of the host, as they come."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._frames = FrameReader()
        self._arrived = select.poll()
        self._arrived.register(sock, select.POLLIN)

    def receive(self, wait: bool) -> list[ToWorker]:
        """What has arrived; with ``wait`` at least one message.

        Raises:
            HostGone: the host has closed its end.
        """
        messages: list[ToWorker] = []
        # Asking first costs a quarter of a receive that fails.
        while not messages and (wait or self._arrived.poll(0)):
            data = self._sock.recv(RECEIVE_BYTES)
            if not data:
                raise HostGone
            messages = [to_worker_decoder.decode(frame) for frame in self._frames.feed(data)]
        return messages


def serve(sock: socket.socket) -> None:
    """Loads the model that the first message names, then runs until the host is gone."""
    inbox = Inbox(sock)
    first, *rest = inbox.receive(wait=True)
    assert isinstance(first, Load)
    try:
        loaded = load_model(first)
    except ApiHostError as error:
        send(sock, LoadFailed(error.code, error.message, error.details))
        return
    engine = Engine(loaded, first)
    print(LOADED_LINE, file=sys.stderr, flush=True)
    send(sock, Loaded(loaded.info))
    # What is there by now stays: the collector need not look at it again.
    gc.freeze()
    outbox = Outbox(engine, functools.partial(send, sock))
    messages = rest
    while True:
        for message in messages:
            engine.take(message)
        engine.step()
        outbox.after_step()
        messages = inbox.receive(wait=False)
        while not (messages or engine.has_work):
            messages = inbox.receive(wait=not engine.read_ahead())


def end_with(sock: socket.socket) -> None:
    """Ends this process a while after the host is gone, though it be inside a call of llama.cpp that takes for ever."""
    gone = select.poll()
    gone.register(sock, _HUNG_UP)
    # A child that the host has forked keeps the host's end open; not every system tells of a process this way.
    with contextlib.suppress(AttributeError, OSError):
        gone.register(os.pidfd_open(os.getppid()), select.POLLIN)
    gone.poll()
    time.sleep(LAST_STEP_S)
    os._exit(1)


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sock = socket.socket(fileno=int(sys.argv[1]))
    threading.Thread(target=end_with, args=[sock], daemon=True).start()
    try:
        serve(sock)
    except (HostGone, BrokenPipeError, ConnectionResetError):
        sock.close()


if __name__ == "__main__":
    main()
