"""What there is to know of a running host at one moment: for the notebook's card, a terminal's screen, a script.

Asks the parts that know, and changes nothing. Knows nothing of how it is shown.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psutil

from api_host.gpus import Gpu, Gpus
from api_host.metrics import Failure, Metrics

# Tokens per second are told over the last seconds, so that a figure can be read before it changes.
RATE_WINDOW_S = 3.0


@dataclass(frozen=True)
class Addresses:
    """Where a host is reached, each None where there is none; ``problem`` is why there is no public URL."""

    local: str | None = None
    public: str | None = None
    problem: str | None = None
    tunnel_wanted: bool = False


@dataclass(frozen=True)
class ModelFacts:
    """A model as ``GET /api/models`` tells it.

    ``status`` is one of unloaded, downloading, loading, loaded and failed; ``bytes_done`` and ``bytes_total`` are
    those of a download, ``seconds`` those that a load has taken; what is not known is None. ``n_ctx`` is in tokens
    a sequence, ``n_slots`` in sequences at once; ``n_layer`` counts without the output layer, ``n_gpu_layers`` with it.
    """

    name: str
    status: str
    size: int | None = None
    bytes_done: int | None = None
    bytes_total: int | None = None
    seconds: float | None = None
    description: str | None = None
    n_params: int | None = None
    device: str | None = None
    n_ctx: int | None = None
    n_slots: int | None = None
    n_layer: int | None = None
    n_gpu_layers: int | None = None
    n_running: int = 0
    n_waiting: int = 0
    error: str | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, entry: dict[str, Any]) -> ModelFacts:
        """From the pool's own telling of a model."""
        progress = entry["progress"] or {}
        same = (
            "name",
            "status",
            "size",
            "description",
            "n_params",
            "device",
            "n_ctx",
            "n_slots",
            "n_layer",
            "n_gpu_layers",
        )
        return cls(
            **{key: entry[key] for key in same},
            bytes_done=progress.get("bytes_done"),
            bytes_total=progress.get("bytes_total"),
            seconds=progress.get("seconds"),
            n_running=entry["n_running"],
            n_waiting=entry["n_waiting"],
            error=_sentence(entry["error"]),
            notes=tuple(entry["notes"]),
        )


def _sentence(error: dict[str, Any] | None) -> str | None:
    """What an error's JSON says; that of a wrong request has a list of sentences."""
    told = error["error"] if error else None
    return "; ".join(told) if isinstance(told, list) else told


@dataclass(frozen=True)
class Facts:
    """A host at one moment. Memory in bytes, ``uptime`` in seconds (None: it does not run).

    ``models`` are those that were asked for, the default model first; ``requests`` have ended, whether well or not;
    ``tokens`` were generated, and ``tokens_per_second`` is their rate over the last seconds, of all requests together.
    """

    addresses: Addresses
    default_model: str | None
    uptime: float | None
    models: tuple[ModelFacts, ...]
    gpus: tuple[Gpu, ...]
    memory_used: int
    memory_total: int
    requests: int
    tokens: int
    tokens_per_second: float
    last_failure: Failure | None

    @property
    def n_running(self) -> int:
        return sum(model.n_running for model in self.models)

    @property
    def n_waiting(self) -> int:
        return sum(model.n_waiting for model in self.models)


class FactsReader:
    """Reads the facts of one host; safe from any thread.

    Args:
        addresses: where the host is reached now.
        started: when it was started, by ``time.monotonic``; None while it does not run.
        entries: the pool's models.
        default_model: canonical name of the model that is told first.
        metrics: the host's counters.
        gpus: None reads this machine's.
    """

    def __init__(
        self,
        addresses: Callable[[], Addresses],
        started: Callable[[], float | None],
        entries: Callable[[], list[dict[str, Any]]],
        default_model: str | None,
        metrics: Metrics,
        gpus: Gpus | None = None,
    ) -> None:
        self._addresses = addresses
        self._started = started
        self._entries = entries
        self._default_model = default_model
        self._metrics = metrics
        self._gpus = gpus or Gpus()
        self._rate = _Rate()

    def read(self) -> Facts:
        """The facts of this moment. Takes some milliseconds, most of them the GPU driver's."""
        now = time.monotonic()
        started = self._started()
        models = [ModelFacts.of(entry) for entry in self._entries()]
        models.sort(
            key=lambda model: (model.name != self._default_model, model.status == "unloaded", model.name)
        )
        memory = psutil.virtual_memory()
        totals = self._metrics.totals()
        return Facts(
            addresses=self._addresses(),
            default_model=self._default_model,
            uptime=None if started is None else now - started,
            models=tuple(models),
            gpus=tuple(self._gpus.read()),
            memory_used=memory.total - memory.available,
            memory_total=memory.total,
            requests=totals.requests,
            tokens=totals.tokens,
            tokens_per_second=self._rate.note(now, totals.tokens),
            last_failure=totals.last_failure,
        )


class _Rate:
    """How fast a count grows, over the last ``RATE_WINDOW_S`` seconds; safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: deque[tuple[float, int]] = deque()

    def note(self, now: float, count: int) -> float:
        """Takes the count of this moment; returns its growth a second."""
        with self._lock:
            self._seen.append((now, count))
            while len(self._seen) > 2 and now - self._seen[1][0] >= RATE_WINDOW_S:
                self._seen.popleft()
            then, before = self._seen[0]
        return (count - before) / (now - then) if now > then else 0.0
