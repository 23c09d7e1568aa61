"""How far a download is: counts what the library reports, and sends it on a few times a second.

Lives in the download child. Knows neither the hub nor the cache.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any

from tqdm import tqdm

from api_host.models.hub.messages import FromChild, Moved

SEND_EVERY_S = 0.1


class Meter:
    """Bytes of one model on their way to the disk; a context manager that sends while it is open.

    Args:
        send: takes a Moved whenever something has changed, at most ten a second.
        file: the model's name, as it is shown.
        total: bytes of all its parts.
        present: bytes of them that are on the disk already.
    """

    def __init__(self, send: Callable[[FromChild], None], file: str, total: int, present: int = 0) -> None:
        self._send = send
        self._file = file
        self._total = total
        self._finished = 0
        self._current = present
        self._activity = 0
        self._counted = False
        self._size_on_disk: Callable[[], int] | None = None
        self._sent: Moved | None = None
        self._closing = threading.Event()
        self._sender = threading.Thread(target=self._keep_sending, name="meter", daemon=True)

    def __enter__(self) -> Meter:
        self._send_once()
        self._sender.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._closing.set()
        self._sender.join()
        self._send_once()

    def watch(self, size_on_disk: Callable[[], int]) -> None:
        """A new file begins. Until the library reports by itself (versions before 1.0 do not, nor does one that
        waits while another process downloads the same file), its size on the disk counts."""
        self._current, self._counted, self._size_on_disk = 0, False, size_on_disk

    def set_done(self, done: int) -> None:
        """``done`` bytes of the current file have been written."""
        self._counted = True
        self._activity += max(0, done - self._current)
        self._current = done

    def add_activity(self, amount: int) -> None:
        """Bytes were received or checked, but not written."""
        self._activity += max(0, amount)

    def finish_file(self, size: int) -> None:
        """The current file is whole."""
        self._size_on_disk = None
        self._finished += size
        self._current = 0

    def bar_class(self) -> type[tqdm]:
        """A progress bar for the library to fill: draws nothing, and counts here."""
        meter = self

        class Bar(tqdm):
            def __init__(self, *args: Any, **options: Any) -> None:
                options.pop("name", None)
                super().__init__(*args, **{**options, "disable": True})
                self.n = options.get("initial") or 0
                meter.set_done(int(self.n))

            def update(self, n: float | None = 1) -> None:
                self.n += int(n or 0)
                meter.set_done(int(self.n))

            def update_transfer(self, n: float = 0) -> None:
                # Xet: received, but not yet written where the file will be.
                meter.add_activity(int(n))

        return Bar

    def _keep_sending(self) -> None:
        while not self._closing.wait(SEND_EVERY_S):
            self._send_once()

    def _send_once(self) -> None:
        size_on_disk = self._size_on_disk
        if size_on_disk is not None and not self._counted:
            done = size_on_disk()
            self._activity += max(0, done - self._current)
            self._current = done
        moved = Moved(self._file, self._finished + self._current, self._total, self._activity)
        if moved != self._sent:
            self._send(moved)
            self._sent = moved
