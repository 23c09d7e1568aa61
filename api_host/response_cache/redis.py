"""Answers in a Redis server, which several hosts may share (package redis).

Knows nothing of what it keeps. A server that is away or slow, or no Redis, costs one line in the log and, every few
seconds, half a second of one request's time, to see whether it is back; one that refuses a command, for it is full, one
line for each reason. It never costs a request.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from api_host.errors import InvalidRequest

log = logging.getLogger(__name__)

PREFIX = "api-host:answer:"
TIMEOUT_S = 0.5
PAUSE_S = 5.0

T = TypeVar("T")


class RedisStore:
    """Keys with an age, below a prefix of this project's. Nothing is asked before the first use.

    How much the server keeps in all is the server's own setting (``maxmemory``).

    Args:
        url: as the package redis reads it: ``redis://user:password@name:6379/0``; never logged.
        max_bytes: bound of a single answer.
        max_age: seconds after which the server forgets an answer.
        pause: seconds without asking after the server has failed.
        clock: seconds that never go back.

    Raises:
        InvalidRequest: the package redis is not installed.
    """

    def __init__(
        self,
        url: str,
        max_bytes: int,
        max_age: float,
        pause: float = PAUSE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        try:
            import redis
            from redis.backoff import NoBackoff
            from redis.retry import Retry
        except ImportError:
            raise InvalidRequest(
                'cache: Redis needs the package redis; pip install "api-host[redis]"'
            ) from None
        self._refusal = redis.ResponseError
        self._refused: set[tuple[str, str]] = set()
        self._redis = redis.Redis.from_url(
            url,
            socket_timeout=TIMEOUT_S,
            socket_connect_timeout=TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
        )
        self._max_bytes = max_bytes
        self._max_age_ms = max(1, round(max_age * 1000))
        self._pause = pause
        self._clock = clock
        self._lock = threading.Lock()
        self._away = False
        self._look_again = 0.0

    def get(self, key: str) -> bytes | None:
        value = self._ask(lambda: self._redis.get(PREFIX + key))
        return value if isinstance(value, bytes) else None

    def put(self, key: str, value: bytes) -> None:
        if len(value) <= self._max_bytes:
            self._ask(lambda: self._redis.set(PREFIX + key, value, px=self._max_age_ms))

    def close(self) -> None:
        self._redis.close()

    def _ask(self, command: Callable[[], T]) -> T | None:
        if not self._may_ask():
            return None
        try:
            answer: T | None = command()
        except self._refusal as failure:
            answer = None
            self._note_refusal(failure)
        except Exception as failure:  # noqa: BLE001 - logged; the package stumbles over what is no Redis
            self._lost(failure)
            return None
        self._found()
        return answer

    def _may_ask(self) -> bool:
        with self._lock:
            now = self._clock()
            if self._away and now < self._look_again:
                return False
            self._look_again = now + self._pause  # of those that ask meanwhile, one is enough
            return True

    def _lost(self, failure: Exception) -> None:
        with self._lock:
            known, self._away = self._away, True
            self._look_again = self._clock() + self._pause
        # What is still to be read of an answer that was not understood would be taken for the next one's.
        self._redis.connection_pool.disconnect(inuse_connections=False)
        if not known:
            log.warning(
                "the Redis of the response cache does not answer (%s); requests go on without it", failure
            )

    def _note_refusal(self, failure: Exception) -> None:
        kind = type(failure).__name__, str(failure).partition(" ")[0]
        with self._lock:
            known = kind in self._refused
            self._refused.add(kind)
        if not known:
            log.warning(
                "the Redis of the response cache refuses what it is asked (%s); such answers are generated",
                failure,
            )

    def _found(self) -> None:
        with self._lock:
            was_away, self._away = self._away, False
        if was_away:
            log.warning("the Redis of the response cache answers again")
