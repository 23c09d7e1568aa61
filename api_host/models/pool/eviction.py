"""Which loaded models have to go so that another one fits.

Knows nothing of processes or locks: it answers from figures.
"""

from __future__ import annotations

from collections.abc import Iterable

from api_host.errors import OutOfMemory
from api_host.models.pool.loaded import LoadedModel
from api_host.models.pool.memory import Need, Room


def choose_victims(need: Need, room: Room, idle: Iterable[LoadedModel]) -> list[LoadedModel] | None:
    """The idle models to end, least recently used first; none more than it takes.

    Where even all of them are not enough for what is wanted, a model makes do with fewer sequences, and, when
    it could never have more, with a shorter context. For the sake of that it does not wait for busy models.

    Returns:
        The models to end (none when there is room already), or None: a busy one has to end first.

    Raises:
        OutOfMemory: it does not fit even with every other model ended.
    """
    candidates = sorted(idle, key=lambda model: model.last_used)
    free = room.free
    for count in range(len(candidates) + 1):
        if free >= need.wanted:
            return candidates[:count]
        if count < len(candidates):
            free += candidates[count].need
    if room.capacity is None or free >= need.one_sequence:
        return candidates
    if room.capacity >= need.one_sequence:
        return None
    if free >= need.least:
        return candidates
    if room.capacity >= need.least:
        return None
    raise OutOfMemory(
        f"the model needs about {need.least / 1e9:.2f} GB of memory, and there are {room.capacity / 1e9:.2f} GB "
        "with every other model unloaded; choose a smaller quant or ask for a shorter ctx_length",
        needed=need.least,
        free=room.capacity,
    )
