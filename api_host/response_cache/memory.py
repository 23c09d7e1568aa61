"""Answers in the memory of this process: the least recently used go first, and none grows older than allowed.

Knows nothing of what it keeps.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

# What an entry takes beside its key and its value: the objects around them, and its place in the table.
ENTRY_BYTES = 300


class MemoryStore:
    """A bounded table.

    Args:
        max_bytes: bound of all entries together, keys and bookkeeping included.
        max_age: seconds after which an entry is forgotten.
        clock: seconds that never go back.
    """

    def __init__(self, max_bytes: int, max_age: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_bytes = max_bytes
        self._max_age = max_age
        self._clock = clock
        self._lock = threading.Lock()
        self._entries: OrderedDict[str, tuple[float, bytes]] = OrderedDict()
        self._n_bytes = 0

    @property
    def n_bytes(self) -> int:
        """What all entries take."""
        return self._n_bytes

    def get(self, key: str) -> bytes | None:
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                return None
            kept_at, value = entry
            if self._clock() - kept_at >= self._max_age:
                self._remove(key)
                return None
            self._entries.move_to_end(key)
            return value

    def put(self, key: str, value: bytes) -> None:
        size = _size(key, value)
        if size > self._max_bytes:
            return
        with self._lock:
            if key in self._entries:
                self._remove(key)
            while self._n_bytes + size > self._max_bytes:
                self._remove(next(iter(self._entries)))
            self._entries[key] = (self._clock(), value)
            self._n_bytes += size

    def close(self) -> None:
        with self._lock:
            self._entries.clear()
            self._n_bytes = 0

    def _remove(self, key: str) -> None:
        _, value = self._entries.pop(key)
        self._n_bytes -= _size(key, value)


def _size(key: str, value: bytes) -> int:
    return len(key) + len(value) + ENTRY_BYTES
