"""How much memory a model will take, and how much there is for it.

Knows nothing of workers or of which model should go; all figures are bytes and estimates: llama.cpp says in the
end what it really takes, and the worker chooses how many layers a GPU holds.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import psutil

from api_host.free_memory import free_memory
from api_host.gguf_header import (
    NotGguf,
    architecture_number,
    file_size,
    read_header,
)
from api_host.gpu_shares import gpu_shares, room_on
from api_host.kv_cache import CacheType, kv_cache

_WEIGHTS_OVERHEAD = 1.1
GUESSED_SLOTS = 4
_SHORTEST_CTX = 512
_HOST_RESERVE = 300 * 1024**2
# What a worker keeps free on a GPU for buffers (engine/memory.py), and what the driver takes for a process.
_GPU_RESERVE = 900 * 1024**2
_NVIDIA_SMI_TIMEOUT_S = 10


@dataclass
class Holder:
    """Something that takes memory: ``need`` in bytes; ``pid`` None while it has no process; ``is_loading`` while it
    may still take more of what it needs."""

    need: int
    on_gpu: bool
    pid: int | None = None
    is_loading: bool = False


@dataclass(frozen=True)
class Need:
    """Bytes a model is reckoned to take: as wanted; with one sequence only; with the shortest context as well.

    A worker makes do with less than what is wanted: fewer sequences first, then a shorter context.
    """

    wanted: int
    one_sequence: int
    least: int

    def __add__(self, other: Need) -> Need:
        """What two models in one worker need."""
        return Need(
            self.wanted + other.wanted, self.one_sequence + other.one_sequence, self.least + other.least
        )


def estimate_need(path: Path, n_ctx: int, n_slots: int | None, cache_type: CacheType = "f16") -> Need:
    """What the weights, with a tenth for buffers, and a KV cache of ``n_slots`` times ``n_ctx`` tokens take.

    Args:
        path: the GGUF, or the first part of a split one.
        n_ctx: tokens a sequence; a model is never given more than it was trained for.
        n_slots: sequences at once; None leaves the number to the worker (``GUESSED_SLOTS`` are counted).
        cache_type: of the KV cache's values.

    Raises:
        OSError: the file cannot be read.
    """
    try:
        header = read_header(path)
    except NotGguf:
        header = {}
    n_ctx_train = architecture_number(header, "context_length")
    n_ctx = min(n_ctx, n_ctx_train) if n_ctx_train else n_ctx
    weights = int(file_size(path) * _WEIGHTS_OVERHEAD)
    cache = kv_cache(header, cache_type)
    fewest = n_slots or 1
    return Need(
        weights + cache.size(n_ctx, n_slots or GUESSED_SLOTS),
        weights + cache.size(n_ctx, fewest),
        weights + cache.size(min(n_ctx, _SHORTEST_CTX), fewest),
    )


@dataclass
class Room:
    """Bytes that are ``free`` now, and with every model ended (``capacity``; None: a worker makes do with less)."""

    free: int
    capacity: int | None


class Memory:
    """What there is for models.

    Args:
        budget: bytes that all models together may take, whichever device they are on; "auto" is what is free:
            free memory for those on the CPU, free VRAM as nvidia-smi tells it for those on a GPU.
        main_gpu: the only GPU that models go on.
        tensor_split: each GPU's share of them.
    """

    def __init__(
        self,
        budget: int | Literal["auto"],
        main_gpu: int | None = None,
        tensor_split: list[float] | None = None,
    ) -> None:
        self._budget = budget
        self._main_gpu, self._tensor_split = main_gpu, tensor_split
        self._nvidia_smi = shutil.which("nvidia-smi")

    @property
    def is_fixed(self) -> bool:
        """Whether the owner has set a budget, of which the workers know nothing."""
        return self._budget != "auto"

    def gpu_free(self) -> int | None:
        """Free VRAM for weights and KV caches of one more model, on the GPUs that it may use, as it is shared out
        among them; None when nvidia-smi cannot tell, or a worker sees none."""
        if self._nvidia_smi is None:
            return None
        command = [self._nvidia_smi, "--query-gpu=index,uuid,memory.free", "--format=csv,noheader,nounits"]
        try:
            answer = subprocess.run(
                command, capture_output=True, text=True, timeout=_NVIDIA_SMI_TIMEOUT_S, check=True
            )
            listed = [_Listed(*line.split(", ")) for line in answer.stdout.splitlines()]
            visible = [int(gpu.free_mib) * 1024**2 for gpu in _visible(listed)]
        except (OSError, subprocess.SubprocessError, TypeError, ValueError):
            return None
        if not visible:
            return None
        free = [max(0, room - _GPU_RESERVE) for room in visible]
        return room_on(free, gpu_shares(len(free), self._main_gpu, self._tensor_split))

    def room(self, holders: Iterable[Holder], gpu_free: int | None) -> Room:
        """What is free now, and what there would be without any of ``holders``.

        Args:
            holders: the models that are loaded or being loaded.
            gpu_free: what ``gpu_free()`` has just said, for a model that goes on the GPU; None for the CPU.
        """
        holders = list(holders)
        if self._budget != "auto":
            return Room(self._budget - sum(holder.need for holder in holders), self._budget)
        if gpu_free is not None:
            # How much of it a model on its way has taken there already, nobody tells.
            coming = sum(holder.need for holder in holders if holder.on_gpu and holder.is_loading)
            return Room(gpu_free - coming, None)
        available = free_memory() - _HOST_RESERVE
        taken = [_private_bytes(holder.pid) for holder in holders]
        still_to_come = sum(
            max(0, holder.need - mine)
            for holder, mine in zip(holders, taken, strict=True)
            if not holder.on_gpu
        )
        return Room(available - still_to_come, available + sum(taken))


class _Listed(NamedTuple):
    """A line of nvidia-smi's."""

    number: str
    uuid: str
    free_mib: str


def _visible(gpus: list[_Listed]) -> list[_Listed]:
    """Those of the GPUs that CUDA shows a worker, in the order in which it does."""
    wanted = os.environ.get("CUDA_VISIBLE_DEVICES")
    if wanted is None:
        return gpus
    seen: list[_Listed] = []
    for name in map(str.strip, wanted.split(",")):
        found = [gpu for gpu in gpus if name and (gpu.number == name or gpu.uuid.startswith(name))]
        if not found:
            break  # CUDA ignores all that follow one that is not there
        seen.append(found[0])
    return seen


def _private_bytes(pid: int | None) -> int:
    """What a process holds for itself: mapped weights are page cache, which counts as available RAM."""
    if pid is None:
        return 0
    try:
        info = psutil.Process(pid).memory_info()
    except psutil.Error:
        return 0
    return max(0, int(info.rss - getattr(info, "shared", 0)))
