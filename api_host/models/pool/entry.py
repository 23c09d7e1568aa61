"""All that the pool knows of one model: loaded or on its way, who waits for it, and how it failed.

Knows nothing of other models. The pool calls it under the pool's lock.
"""

from __future__ import annotations

import copy
import math
from collections import deque
from pathlib import Path
from typing import Any

from api_host.errors import (
    ApiHostError,
    HubRateLimited,
    ModelBusy,
    ModelLoadFailed,
    OutOfMemory,
    QueueFull,
    WorkerDied,
)
from api_host.generation import LoadOptions, Waiting
from api_host.models.pool.cooldown import Cooldown
from api_host.models.pool.lease import Lease
from api_host.models.pool.loaded import LoadedModel, Target
from api_host.models.pool.loading import Loading
from api_host.models.reference import ModelRef

RETRY_AFTER_S = 5.0


class ModelEntry:
    """One model by its canonical name.

    Args:
        ref: which model.
        default: how it is loaded when a request leaves that open.
        first_cooldown: seconds that it is left alone after its first failure.
    """

    def __init__(self, ref: ModelRef, default: Target, first_cooldown: float) -> None:
        self.ref = ref
        self.name = ref.name
        self.waiting: deque[Lease] = deque()
        self.loading: Loading | None = None
        self.model: LoadedModel | None = None
        self.cooldown = Cooldown(first_cooldown)
        self.error: ApiHostError | None = None
        self.size: int | None = None
        self.path: Path | None = None
        self._default = default
        self._failed_target: Target | None = None

    @property
    def status(self) -> str:
        """One of unloaded, downloading, loading, loaded and failed."""
        if self.loading is not None:
            return self.loading.status
        if self.model is not None:
            return "loaded"
        return "failed" if self.error is not None else "unloaded"

    @property
    def in_use(self) -> bool:
        """Whether the model is in memory, or on its way there, or asked for."""
        return bool(self.model or self.loading or self.waiting)

    def target(self, options: LoadOptions) -> Target:
        """How the model is to be loaded for these options: what they leave open stays as it is loaded."""
        loaded = self.model.target if self.model is not None else None
        base = loaded or self._default
        n_ctx = options.ctx_length or base.n_ctx
        if loaded is not None:
            n_ctx = max(n_ctx, loaded.n_ctx)
        return Target(n_ctx, base.use_gpu if options.use_gpu is None else options.use_gpu)

    def check_idle(self) -> None:
        """Raises ModelBusy when a request runs on the model or waits for it."""
        if self.waiting or (self.model is not None and not self.model.idle):
            raise ModelBusy(
                f"{self.name} is in use; unload it when its requests have ended", retry_after=RETRY_AFTER_S
            )

    def refusal(self, options: LoadOptions, queue_limit: int) -> ApiHostError | None:
        """Why a request with these options is not even tried now: the model has just failed, or too many wait."""
        return self._pause(options) or (self._full(queue_limit) if len(self.waiting) >= queue_limit else None)

    def _full(self, queue_limit: int) -> QueueFull:
        return QueueFull(
            f"{queue_limit} requests wait for {self.name} already; try again later",
            limit=queue_limit,
            retry_after=RETRY_AFTER_S,
        )

    def _pause(self, options: LoadOptions) -> ApiHostError | None:
        cause, remaining = self.cooldown.cause, self.cooldown.remaining
        if cause is None or not remaining:
            return None
        if self.model is not None and self.model.suits(options):
            return None
        if isinstance(cause, HubRateLimited):
            refusal = copy.copy(cause)
            refusal.retry_after = remaining
            return refusal
        if isinstance(cause, OutOfMemory) and not self._as_large(options):
            return None
        kind = OutOfMemory if isinstance(cause, OutOfMemory) else ModelLoadFailed
        return kind(
            f"{self.name} failed to load and is left alone for {math.ceil(remaining)} s; unload it to have it "
            f"tried at once. It failed with: {cause.message}",
            retry_after=remaining,
            **cause.details,
        )

    def note_loaded(self, model: LoadedModel) -> None:
        self.model = model
        self.error = None
        self.cooldown.reset()

    def note_failed(self, error: ApiHostError, loading: Loading) -> list[Lease]:
        """Keeps the failure; returns the waiting claims that it answers. Others want less, and may be luckier."""
        if isinstance(error, HubRateLimited):
            self.cooldown.pause(error, error.retry_after)
        elif loading.started and isinstance(error, (ModelLoadFailed, OutOfMemory, WorkerDied)):
            self.cooldown.fail(error)
        self.error = error
        self._failed_target = loading.target
        return [claim for claim in self.waiting if not self._may_still_run(claim.options, error)]

    def forget_failure(self) -> None:
        self.cooldown.reset()
        self.error = None

    def _may_still_run(self, options: LoadOptions, error: ApiHostError) -> bool:
        if self.model is not None and self.model.suits(options):
            return True
        return isinstance(error, OutOfMemory) and not self._as_large(options)

    def _as_large(self, options: LoadOptions) -> bool:
        failed = self._failed_target
        return failed is None or self.target(options).n_ctx >= failed.n_ctx

    def waiting_for(self) -> Waiting:
        """What a claim on this model waits for: its download, its load, or the requests that run on it."""
        if self.loading is None:
            return Waiting("loading", {"waiting_for_requests": self.model.n_leases if self.model else 0})
        return Waiting(self.loading.status, self.loading.progress)

    def to_dict(self) -> dict[str, Any]:
        """The model as ``GET /api/models`` shows it; sizes in bytes, the context in tokens a sequence."""
        facts: dict[str, Any] = {
            "name": self.name,
            "status": self.status,
            "progress": self.loading.progress if self.loading is not None else None,
            "size": self.loading.size if self.loading is not None and self.loading.size else self.size,
            "error": _shown(self.error) if self.status == "failed" and self.error is not None else None,
            "n_running": 0,
            "n_waiting": len(self.waiting),
        }
        if self.status != "loaded" or self.model is None:
            return {**facts, **dict.fromkeys(_INFO), "notes": []}
        info, stats = self.model.info, self.model.worker.stats
        facts["n_running"] = stats.n_running
        facts["n_waiting"] += stats.n_waiting
        return {**facts, **{key: getattr(info, key) for key in _INFO}, "notes": list(info.notes)}


def _shown(error: ApiHostError) -> dict[str, Any]:
    return {**error.to_dict(), "status": error.status}


_INFO = (
    "description",
    "architecture",
    "n_params",
    "n_ctx",
    "n_ctx_train",
    "n_slots",
    "n_gpu_layers",
    "n_layer",
    "device",
    "draft_model",
)


def unseen(name: str, size: int | None = None) -> dict[str, Any]:
    """A model that nobody has asked for yet, as ``ModelEntry.to_dict`` would show it."""
    facts = {"name": name, "status": "unloaded", "progress": None, "size": size, "error": None}
    return {**facts, "n_running": 0, "n_waiting": 0, **dict.fromkeys(_INFO), "notes": []}
