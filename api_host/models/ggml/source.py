"""Reads a file that nobody vouches for, front to back: no read beyond its end, no buffer of a size it may choose.

Knows nothing of what the bytes mean; whoever reads names the part, so that an error can name it too.
"""

from __future__ import annotations

import os
import struct
from typing import Any, BinaryIO

from api_host.errors import ModelLoadFailed


class Source:
    """An open file with its name, which is all of its path that errors show."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self.name = name
        self.size = os.fstat(file.fileno()).st_size
        self.position = 0
        self._file = file

    def take(self, n_bytes: int, what: str) -> bytes:
        """The next bytes. Raises ModelLoadFailed, naming ``what``, when the file ends before."""
        self._check_end(self.position + n_bytes, what)
        taken = self._file.read(n_bytes)
        if len(taken) < n_bytes:
            raise self.refused(f"it became shorter while {what} was read")
        self.position += n_bytes
        return taken

    def unpack(self, form: str, what: str) -> tuple[Any, ...]:
        """The next numbers, little-endian, in the letters of ``struct``."""
        return struct.unpack(f"<{form}", self.take(struct.calcsize(f"<{form}"), what))

    def go_to(self, position: int, what: str) -> None:
        """Moves on; ``position`` may be the file's end, but not beyond it."""
        self._check_end(position, what)
        self._file.seek(position)
        self.position = position

    def refused(self, reason: str) -> ModelLoadFailed:
        """The error that says why this file cannot be used."""
        return ModelLoadFailed(f"{self.name}: {reason}")

    def _check_end(self, end: int, what: str) -> None:
        if end > self.size:
            raise self.refused(f"it ends inside {what}: {self.size:,} bytes, {end:,} needed; fetch it again")
