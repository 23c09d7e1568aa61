"""The models in memory, those on their way in and those on their way out; makes room for one more.

Knows nothing of requests: a model is busy or idle. One lock guards all of the pool's state; no worker is stopped,
and no other program asked, while it is held.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from api_host.errors import Cancelled, ModelBusy
from api_host.models.pool.entry import RETRY_AFTER_S, ModelEntry
from api_host.models.pool.eviction import choose_victims
from api_host.models.pool.loaded import LoadedModel
from api_host.models.pool.loading import Loading
from api_host.models.pool.memory import Memory, Need
from api_host.models.reference import ModelRef

ROOM_WAIT_S = 120.0
MOST_NAMES = 200


class Residents:
    """All entries of a pool and the memory that their models take.

    Args:
        memory: what there is.
        gpu_layers_wanted: whether models go on a GPU at all.

    """

    def __init__(self, memory: Memory, gpu_layers_wanted: bool) -> None:
        self.entries: dict[str, ModelEntry] = {}
        self.lock = threading.Lock()
        self.stopping = False
        self._changed = threading.Condition(self.lock)
        self._n_changes = 0
        self._memory = memory
        self._gpu_works = gpu_layers_wanted
        self._gpu_held = False
        self._ending: list[LoadedModel] = []
        self._one_at_a_time = threading.Lock()

    def each(self) -> list[ModelEntry]:
        """The entries, each once, however many names it has. Call it with the lock held."""
        return list(dict.fromkeys(self.entries.values()))

    def has(self, ref: ModelRef) -> bool:
        """With the lock held: whether there is an entry for this name. One that it was merged into is none any more
        when its model has gone: the name may mean another file by now."""
        entry = self.entries.get(ref.name)
        return entry is not None and (entry.ref == ref or _stands_for_something(entry))

    def forget_oldest(self) -> None:
        """With the lock held: drops the oldest names that stand for nothing, so that wrong ones cannot pile up."""
        spare = [name for name, entry in self.entries.items() if not _stands_for_something(entry)]
        for name in spare[: max(0, len(self.entries) - MOST_NAMES)]:
            del self.entries[name]

    def merge(self, entry: ModelEntry, path: Path) -> ModelEntry | None:
        """With the lock held: gives an entry's claims and name to the one that has the same file in memory.

        Returns:
            That other entry; None when there is none.
        """
        resolved = path.resolve()
        for twin in self.each():
            if twin is not entry and twin.path == resolved and twin.in_use:
                twin.waiting.extend(entry.waiting)
                entry.waiting.clear()
                self.entries[entry.name] = twin
                return twin
        entry.path = resolved
        return None

    def find(self, name: str, path: Path | None) -> ModelEntry | None:
        """With the lock held: the entry of this name; another one that has the same file in memory goes before it."""
        entry = self.entries.get(name)
        file = path.resolve() if path is not None else entry.path if entry is not None else None
        return self._holding().get(file, entry)

    def shown(self, files: Mapping[str, Path]) -> list[dict[str, Any]]:
        """With the lock held: the models by each of their names, and by those of ``files`` that they were read from."""
        holding = self._holding()
        named = {name: holding.get(entry.path, entry) for name, entry in self.entries.items()}
        named |= {name: holding[path] for name, path in files.items() if path in holding}
        return [{**entry.to_dict(), "name": name} for name, entry in named.items()]

    def _holding(self) -> dict[Path | None, ModelEntry]:
        """The entries that have a file in memory, or on its way there, by that file."""
        return {entry.path: entry for entry in self.each() if entry.path is not None and entry.in_use}

    def models(self) -> Iterator[LoadedModel]:
        """The loaded models. Call it with the lock held."""
        return (entry.model for entry in self.each() if entry.model is not None)

    def note_change(self) -> None:
        """Says, with the lock held, that there may be room now: a model ended, became idle or was loaded."""
        self._n_changes += 1
        self._changed.notify_all()

    def detach(self, model: LoadedModel) -> None:
        """Takes a model from its entry, with the lock held; until ``end`` has ended it, it still takes memory."""
        # Not by its name: that may be forgotten by now, and another one lead to the entry.
        for entry in self.each():
            if entry.model is model:
                entry.model = None
        self._ending.append(model)

    def end(self, model: LoadedModel) -> None:
        """Ends the worker of a detached model; without the lock."""
        model.worker.stop()
        with self.lock:
            self._ending.remove(model)
            self.note_change()

    def end_idle(self) -> bool:
        """Ends every idle model; False when there was none."""
        with self.lock:
            idle = [
                entry.model
                for entry in self.each()
                if entry.model is not None and entry.model.idle and entry.loading is None
            ]
            for model in idle:
                self.detach(model)
        for model in idle:
            self.end(model)
        return bool(idle)

    def note_placement(self, model: LoadedModel) -> None:
        """Learns from a model that was allowed on a GPU whether there is one that llama.cpp can use. One that has held
        a model can, even if it has no room for another."""
        self._gpu_held = self._gpu_held or model.on_gpu
        if model.target.use_gpu:
            self._gpu_works = self._gpu_held

    def make_room(self, entry: ModelEntry, loading: Loading, need: Need) -> None:
        """Ends idle models until the new one fits, waiting for busy ones if it must, and takes the room.

        Raises:
            OutOfMemory: it can never fit. ModelBusy: no busy one ended within ROOM_WAIT_S. Cancelled.
        """
        if self._memory.is_fixed:
            need = Need(need.wanted, need.wanted, need.wanted)
        deadline = time.monotonic() + ROOM_WAIT_S
        while True:
            with self._one_at_a_time:
                with self.lock:
                    seen = self._n_changes
                victims = self._take_room(entry, loading, need)
                for victim in victims or []:
                    self.end(victim)
            if victims is not None:
                return
            self._await_change(loading, seen, deadline)

    def _take_room(self, entry: ModelEntry, loading: Loading, need: Need) -> list[LoadedModel] | None:
        on_gpu = loading.target.use_gpu and self._gpu_works and not self._memory.is_fixed
        gpu_free = self._memory.gpu_free() if on_gpu else None
        with self.lock:
            victims = self._choose(entry, need, gpu_free)
            if victims is not None:
                loading.reserve(need.wanted, on_gpu=gpu_free is not None)
                for victim in victims:
                    self.detach(victim)
        return victims

    def _choose(self, entry: ModelEntry, need: Need, gpu_free: int | None) -> list[LoadedModel] | None:
        """The models to end; the one that is to be loaded anew is one of them."""
        old = [entry.model] if entry.model is not None else []
        loadings = [other.loading for other in self.each() if other.loading is not None]
        holders = [model.holder for model in (*self.models(), *self._ending)]
        holders += [loading.holder for loading in loadings]
        room = self._memory.room(holders, gpu_free)

        def counts(model: LoadedModel) -> bool:
            return self._memory.is_fixed or model.on_gpu == (gpu_free is not None)

        room.free += sum(model.need for model in old if counts(model))
        idle = [
            other.model
            for other in self.each()
            if other.model is not None and other.loading is None and other.model.idle and counts(other.model)
        ]
        victims = choose_victims(need, room, idle)
        return None if victims is None else [*old, *victims]

    def _await_change(self, loading: Loading, seen: int, deadline: float) -> None:
        def may_go_on() -> bool:
            return self._n_changes != seen or loading.cancelled or self.stopping

        with self._changed:
            changed = self._changed.wait_for(may_go_on, max(0.0, deadline - time.monotonic()))
        if loading.cancelled or self.stopping:
            raise Cancelled(f"loading {loading.ref.name} was cancelled")
        if not changed:
            raise ModelBusy(
                f"there is no room for {loading.ref.name} beside the models that are answering now; try again",
                retry_after=RETRY_AFTER_S,
            )


def _stands_for_something(entry: ModelEntry) -> bool:
    return entry.in_use or entry.cooldown.remaining > 0
