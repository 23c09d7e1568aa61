"""Where a model's layers go and how much context it gets: arithmetic on what is free, before anything is loaded.

Knows nothing of llama.cpp; sizes are in bytes. What does not fit a GPU gets fewer slots first (where their number
is free), then fewer layers there, down to none; what does not fit host memory fewer slots, then a shorter context.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from api_host.errors import OutOfMemory
from api_host.kv_cache import KvCache

# What llama.cpp and the driver need beside weights and KV cache: a fixed part, and a share of the weights.
GPU_RESERVE = 600 * 1024**2
HOST_RESERVE = 300 * 1024**2
WEIGHTS_OVERHEAD = 1.03
MIN_CTX = 512
CPU_SLOTS, GPU_SLOTS = 4, 8


@dataclass(frozen=True)
class Shape:
    """The figures of a GGUF that memory depends on; ``weights`` in bytes.

    ``draft`` is a second model beside it, with a KV cache of as many tokens, whole on one device.
    """

    n_layer: int
    weights: int
    kv_cache: KvCache
    draft: Shape | None = None

    def size(self, n_ctx: int, n_slots: int) -> int:
        """Bytes of weights and of ``n_slots`` slots of ``n_ctx`` tokens, of both models."""
        own = int(self.weights * WEIGHTS_OVERHEAD) + self.kv_cache.size(n_ctx, n_slots)
        return own + (self.draft.size(n_ctx, n_slots) if self.draft is not None else 0)


@dataclass(frozen=True)
class Placement:
    """What was chosen: layers on the GPU (``n_layer`` + 1 is all), tokens a slot, slots; sentences why."""

    n_gpu_layers: int
    n_ctx: int
    n_slots: int
    notes: tuple[str, ...] = ()


def place_on_cpu(
    shape: Shape, n_ctx: int, n_slots: int | None, free: int, most_slots: int | None = None
) -> Placement:
    """The slots and the context that fit host memory; never more than ``most_slots``, unless ``n_slots`` is set.

    Raises:
        OutOfMemory: not even one slot of 512 tokens fits.
    """
    usable = free - HOST_RESERVE
    most = min(CPU_SLOTS, most_slots or CPU_SLOTS)
    found = _fit_slots(shape, n_ctx, n_slots, most, usable) or _fit_context(shape, n_ctx, n_slots, usable)
    if found is None:
        needed = HOST_RESERVE + shape.size(min(n_ctx, MIN_CTX), n_slots or 1)
        raise OutOfMemory(
            f"the model needs about {needed / 1e9:.1f} GB of memory and {free / 1e9:.1f} GB are free; unload another "
            "model or choose a smaller quant",
            needed=needed,
            free=free,
        )
    return found


def place_on_gpu(
    shape: Shape,
    n_ctx: int,
    n_slots: int | None,
    n_gpu_layers: int | None,
    free: int,
    host_free: int | None = None,
    most_slots: int | None = None,
) -> Placement | None:
    """The layers and slots that fit the GPUs' free memory; None when not even one layer fits.

    A set ``n_gpu_layers`` (-1: all) is taken as it is, with fewer slots where their number is free.

    Args:
        host_free: what is free for the layers that are not on a GPU; None does not ask.
        most_slots: the most to take where ``n_slots`` is free; None is as many as suit a GPU.

    Raises:
        OutOfMemory: these do not fit.
    """
    n_all = shape.n_layer + 1
    most = min(GPU_SLOTS, most_slots or GPU_SLOTS)
    if n_gpu_layers is not None:
        layers = n_all if n_gpu_layers < 0 else min(n_gpu_layers, n_all)
        return _beside_layers(shape, n_ctx, n_slots, most, layers, free, host_free)
    usable = free - GPU_RESERVE
    whole = _fit_slots(shape, n_ctx, n_slots, most, usable)
    if whole is not None:
        return replace(whole, n_gpu_layers=n_all)
    slots = n_slots or 1
    left = usable - (shape.draft.size(n_ctx, slots) if shape.draft is not None else 0)
    per_layer = replace(shape, draft=None).size(n_ctx, slots) / n_all
    layers = int(left / per_layer)
    if layers <= 0:
        return None
    on_gpu = f"{layers} of {n_all} layers"
    if host_free is not None:
        _check_others(HOST_RESERVE + int(per_layer * (n_all - layers)), host_free, on_gpu)
    note = f"{on_gpu} are on the GPU: the model and its context do not fit its memory"
    return Placement(layers, n_ctx, slots, (note,))


def _beside_layers(
    shape: Shape, n_ctx: int, n_slots: int | None, most: int, layers: int, free: int, host_free: int | None
) -> Placement:
    """A set number of layers, and as many slots as fit; one where not even that does, for llama.cpp to judge."""
    there = layers / (shape.n_layer + 1)

    def fit(slots: int) -> bool:
        own = replace(shape, draft=None).size(n_ctx, slots)
        on_gpu = own * there + shape.size(n_ctx, slots) - own
        on_host = HOST_RESERVE + own * (1 - there)
        return on_gpu <= free - GPU_RESERVE and (host_free is None or there == 1 or on_host <= host_free)

    if n_slots is not None:
        return Placement(layers, n_ctx, n_slots)
    slots = most
    while slots > 1 and not fit(slots):
        slots //= 2
    return Placement(layers, n_ctx, slots, (_few_slots(slots, most),) if slots < most else ())


def _few_slots(slots: int, most: int) -> str:
    return f"{slots} sequences run at once instead of {most}: more do not fit in memory"


def _check_others(needed: int, free: int, on_gpu: str) -> None:
    """Raises OutOfMemory when the layers beside those on the GPU do not fit host memory."""
    if needed > free:
        raise OutOfMemory(
            f"{on_gpu} fit on the GPU, the others need about {needed / 1e9:.1f} GB of memory and {free / 1e9:.1f} GB "
            "are free; choose a smaller quant or ask for a shorter ctx_length",
            needed=needed,
            free=free,
        )


def _fit_slots(shape: Shape, n_ctx: int, n_slots: int | None, most: int, usable: int) -> Placement | None:
    """As many slots as fit ``usable`` bytes, of the whole context; None when not even one does."""
    slots = n_slots or most
    while slots >= 1:
        if shape.size(n_ctx, slots) <= usable:
            few = n_slots is None and slots < most
            return Placement(0, n_ctx, slots, (_few_slots(slots, most),) if few else ())
        if n_slots is not None:
            return None
        slots //= 2
    return None


def _fit_context(shape: Shape, n_ctx: int, n_slots: int | None, usable: int) -> Placement | None:
    slots = n_slots or 1
    ctx = n_ctx
    while ctx > MIN_CTX:
        ctx = max(MIN_CTX, ctx // 2)
        if shape.size(ctx, slots) <= usable:
            return Placement(
                0, ctx, slots, (f"the context is {ctx} tokens instead of {n_ctx}: more does not fit",)
            )
    return None
