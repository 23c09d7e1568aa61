"""Counters of one host, for Prometheus.

Knows nothing of where the numbers come from: each method is named for what happened. Every host has a registry of
its own, so that several live in one process.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from api_host.generation import Timings, Usage

if TYPE_CHECKING:
    from api_host.engine.messages import EngineStats

_FIRST_TOKEN_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900)
_PER_TOKEN_S = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.5)
_REQUEST_S = (0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 3600)

# Blueprints whose routes only look at the host: who keeps an eye on it makes no request of a model.
_LOOKING_ON = ("host", "models")
_FIRST_FAILED_STATUS = 400
_CANCELLED_STATUS = 499


@dataclass(frozen=True)
class Failure:
    """A request that failed: its route and status, one sentence, and when, by ``time.monotonic``."""

    route: str
    status: int
    message: str
    at: float


@dataclass(frozen=True)
class Totals:
    """Requests that have ended, tokens that were generated, and the failure that came last."""

    requests: int
    tokens: int
    last_failure: Failure | None


class Metrics:
    """What the host has done since it started.

    ``engine_stats`` is asked at each scrape for the engines that run now, by model; whoever owns them sets it.
    """

    def __init__(self) -> None:
        self.engine_stats: Callable[[], dict[str, EngineStats]] = dict
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "api_host_requests", "Requests ended.", ["dialect", "route", "status"], registry=self._registry
        )
        self._seconds = self._histogram(
            "request_seconds", "From a request's head to its last byte.", _REQUEST_S
        )
        self._tokens = Counter(
            "api_host_tokens",
            "Tokens of finished generations; cached ones are part of the prompt.",
            ["kind"],
            registry=self._registry,
        )
        self._first_token = self._histogram(
            "time_to_first_token_seconds", "From a request's head to its first text.", _FIRST_TOKEN_S
        )
        self._per_token = self._histogram(
            "time_per_output_token_seconds", "Decoding time a token of finished generations.", _PER_TOKEN_S
        )
        self._downloaded = Counter(
            "api_host_download_bytes", "Bytes of models downloaded.", registry=self._registry
        )
        self._cache = Counter(
            "api_host_response_cache",
            "Requests looked up in the response cache.",
            ["result"],
            registry=self._registry,
        )
        # Kept, since finding them costs more than counting.
        self._prompt, self._cached, self._completion = map(
            self._tokens.labels, ("prompt", "cached", "completion")
        )
        self._ended: dict[tuple[str, str, int], Counter] = {}
        self._lock = threading.Lock()
        self._n_requests = 0
        self._n_tokens = 0
        self._last_failure: Failure | None = None
        self._registry.register(_EngineGauges(self))

    def request_finished(
        self, dialect: str, route: str, status: int, seconds: float, message: str | None = None
    ) -> None:
        """A request has ended with ``status`` (of a late error, the error's), ``seconds`` after its head came.

        ``message`` says why it failed.
        """
        ended = self._ended.get((dialect, route, status))
        if ended is None:
            ended = self._requests.labels(dialect, route, str(status))
            self._ended[dialect, route, status] = ended
        ended.inc()
        self._seconds.observe(seconds)
        if dialect in _LOOKING_ON:
            return
        failed = status >= _FIRST_FAILED_STATUS and status != _CANCELLED_STATUS
        with self._lock:
            self._n_requests += 1
            if failed:
                self._last_failure = Failure(route, status, message or f"status {status}", time.monotonic())

    def tokens_came(self, n: int) -> None:
        """``n`` more tokens of a generation that runs have come."""
        with self._lock:
            self._n_tokens += n

    def totals(self) -> Totals:
        """What has happened so far, in a few figures for people."""
        with self._lock:
            return Totals(self._n_requests, self._n_tokens, self._last_failure)

    def first_token(self, seconds: float) -> None:
        """The first text of a request came ``seconds`` after the request's head."""
        self._first_token.observe(seconds)

    def generation_finished(self, usage: Usage, timings: Timings) -> None:
        """A generation has ended by itself."""
        self._prompt.inc(usage.prompt_tokens)
        self._cached.inc(usage.cached_tokens)
        self._completion.inc(usage.completion_tokens)
        if usage.completion_tokens and timings.decode > 0:
            self._per_token.observe(timings.decode / usage.completion_tokens)

    def cache_asked(self, *, hit: bool) -> None:
        """The response cache was asked for an answer, and had it or not."""
        self._cache.labels("hit" if hit else "miss").inc()

    def downloaded(self, n_bytes: int) -> None:
        """``n_bytes`` more of a model have come from the hub."""
        self._downloaded.inc(n_bytes)

    def render(self) -> tuple[bytes, str]:
        """All metrics in Prometheus' text format, and its content type."""
        return generate_latest(self._registry), CONTENT_TYPE_LATEST

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(f"api_host_{name}", text, buckets=buckets, registry=self._registry)


class _EngineGauges(Collector):
    """The engines' state at the moment of a scrape, by model."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def describe(self) -> list[Metric]:
        # Named, so that registering does not ask for the engines' state.
        return []

    def collect(self) -> Iterator[Metric]:
        stats = self._metrics.engine_stats()
        yield GaugeMetricFamily("api_host_models_loaded", "Models loaded now.", value=len(stats))
        for name, text, attribute in (
            ("queue_depth", "Requests that wait for a slot.", "n_waiting"),
            ("running", "Sequences that run.", "n_running"),
            ("kv_cells_used", "KV cells in use.", "cells_used"),
            ("kv_cells_total", "KV cells in all.", "cells_total"),
        ):
            gauge = GaugeMetricFamily(f"api_host_{name}", text, labels=["model"])
            for model, stat in stats.items():
                gauge.add_metric([model], getattr(stat, attribute))
            yield gauge
