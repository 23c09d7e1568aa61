"""What makes two requests the same: the key under which an answer is kept, or that none may be.

Knows the request's fields by their values alone: one that is added to it is part of the key from then on.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

import msgspec

from api_host.generation import GenerationRequest

_FORMAT = 1
# The hub names a content by its SHA-256, or by git's SHA-1.
_CHECKSUM = re.compile(r"[0-9a-f]{64}|[0-9a-f]{40}")


def cache_key(request: GenerationRequest, model: str, files: str, scope: str) -> str | None:
    """The key of a request's answer: 64 hexadecimal digits (SHA-256), which tell nothing of what was asked.

    None for a request that cannot be written down, such as one with a whole number of more than 64 bits in a schema.

    The order inside a JSON schema and inside tools counts: grammars and templates follow it.

    Args:
        request: however it spells its model.
        model: the model's canonical name.
        files: what tells the files of the model and its adapters from others of those names; see ``files_identity``.
        scope: the host's settings that have a part in every answer.
    """
    asked = dataclasses.replace(request, model=model)
    try:
        written = msgspec.msgpack.encode((_FORMAT, scope, files, asked))
    except (TypeError, ValueError, OverflowError, RecursionError):
        return None
    return hashlib.sha256(written).hexdigest()


def files_identity(paths: Iterable[Path | None]) -> str | None:
    """What changes when another file takes the place of one of these; None where one is missing.

    A file of the hub's cache is a link to its content's checksum, the same on every host; of other files, also those
    that a link of the owner's leads to, it is the size and the time of the last change that tell.
    """
    found = [_identity(path) for path in paths]
    return "; ".join(identity for identity in found if identity) if all(found) else None


def _identity(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        content = path.resolve(strict=True)
        facts = content.stat()
    except OSError:
        return None
    if path.is_symlink() and _CHECKSUM.fullmatch(content.name):
        return f"{content.name} {facts.st_size}"
    return f"{facts.st_size} {facts.st_mtime_ns}"
