"""Which part of a model each GPU gets, by the settings, and how much room that leaves.

Knows nothing of where the GPUs' figures come from; sizes are in bytes.
"""

from __future__ import annotations

from collections.abc import Sequence


def gpu_shares(
    n_gpus: int, main_gpu: int | None = None, tensor_split: list[float] | None = None
) -> list[float] | None:
    """Each GPU's share of the layers, in any unit; None where they go by what each GPU has free.

    Args:
        main_gpu: the only one to use, counted from 0; it wins.
        tensor_split: the shares; GPUs that it does not name get none.
    """
    if main_gpu is not None:
        return [float(i == main_gpu) for i in range(n_gpus)]
    if not tensor_split:
        return None
    return [*tensor_split, *[0.0] * n_gpus][:n_gpus]


def room_on(free: Sequence[int], shares: Sequence[float] | None) -> int:
    """Bytes that a model may take of GPUs with so much free: all, or as much as the GPU that is tightest for its
    share allows; 0 when none has a share."""
    if shares is None:
        return sum(free)
    wholes = [room / share for room, share in zip(free, shares, strict=True) if share > 0]
    return int(min(wholes) * sum(shares)) if wholes else 0
