"""Where answers are kept, as the rest of the cache sees it, and which place a setting means.

Knows nothing of answers: they are bytes under a key.
"""

from __future__ import annotations

from typing import Protocol

from api_host.config import HostConfig
from api_host.response_cache.memory import MemoryStore
from api_host.response_cache.redis import RedisStore


class Store(Protocol):
    """Keeps bytes for some time; may forget any of them at any moment. Raises nothing; safe from any thread."""

    def get(self, key: str) -> bytes | None:
        """What is kept under the key; None for nothing."""

    def put(self, key: str, value: bytes) -> None:
        """Keeps the value in the place of an earlier one; too large a value is not kept."""

    def close(self) -> None:
        """Gives back what the store holds on to; it may be used again."""


def open_store(config: HostConfig) -> Store | None:
    """The store that the setting ``cache`` means; None for none.

    Raises:
        InvalidRequest: the setting means Redis, and the package redis is not installed.
    """
    if config.cache is None or config.cache == "off":
        return None
    if config.cache == "memory":
        return MemoryStore(config.cache_max_bytes, config.cache_max_age)
    return RedisStore(config.cache, config.cache_max_bytes, config.cache_max_age)
