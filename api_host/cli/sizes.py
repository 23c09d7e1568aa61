"""Bytes and seconds in the words of a terminal. Knows nothing else."""

from __future__ import annotations


def size_text(n_bytes: float) -> str:
    """Decimal units with three digits, as disks and the hub count: ``4.68 GB``, ``312 kB``, ``17 B``."""
    amount = float(n_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 999.5:
            return f"{amount:.3g} {unit}"
        amount /= 1000
    return f"{amount:.3g} TB"


def duration_text(seconds: float) -> str:
    """The two largest units: ``2 d 3 h``, ``1 h 04 min``, ``5 min 09 s``, ``12 s``."""
    whole = int(seconds)
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if days:
        return f"{days} d {hours % 24} h"
    if hours:
        return f"{hours} h {minutes % 60:02} min"
    return f"{minutes} min {whole % 60:02} s" if minutes else f"{whole} s"
