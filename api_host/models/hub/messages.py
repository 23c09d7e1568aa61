"""What crosses between the host and a download child: JSON lines, each a dataclass here.

The host writes one Download to the child's stdin and keeps it open: its end is the host's end. The child
writes Moved as often as something moved, and at last one of Done, Interrupted or Failed, to its stdout.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec


class Download(msgspec.Struct, tag=True):
    """Which model to fetch where.

    ``disk_reserve`` is in bytes that stay free; ``token`` None is the one that the library finds by itself.
    """

    repo_id: str
    cache_dir: str
    file_name: str | None = None
    quant: str | None = None
    token: str | None = None
    disk_reserve: int = 0


class Moved(msgspec.Struct, tag=True):
    """``done`` of ``total`` bytes are on disk; ``activity`` grows with every byte received or checked."""

    file: str
    done: int
    total: int
    activity: int


class Done(msgspec.Struct, tag=True):
    """All parts are in the cache and their checksums are right. ``path`` is the first part."""

    path: str


class Interrupted(msgspec.Struct, tag=True):
    """The transfer broke off after it had begun; another child may take it up again."""

    reason: str


class Failed(msgspec.Struct, tag=True):
    """``code`` is one of the error tree; trying again at once makes no sense."""

    code: str
    message: str
    details: dict[str, Any] = {}
    retry_after: float | None = None


FromChild: TypeAlias = Moved | Done | Interrupted | Failed

encode = msgspec.json.Encoder().encode
request_decoder: msgspec.json.Decoder[Download] = msgspec.json.Decoder(Download)
from_child_decoder: msgspec.json.Decoder[FromChild] = msgspec.json.Decoder(FromChild)
