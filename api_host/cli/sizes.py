"""Bytes in the words of a terminal. Knows nothing else."""

from __future__ import annotations


def size_text(n_bytes: int) -> str:
    """Decimal units with three digits, as disks and the hub count: ``4.68 GB``, ``312 kB``, ``17 B``."""
    amount = float(n_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 999.5:
            return f"{amount:.3g} {unit}"
        amount /= 1000
    return f"{amount:.3g} TB"
