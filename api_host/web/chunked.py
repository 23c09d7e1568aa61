"""Reading a body in chunked transfer coding (RFC 9112, section 7.1), without ever holding more than is asked for.

Knows nothing of limits on the whole body: whoever reads it counts.
"""

from __future__ import annotations

import io
from typing import Any

_MAX_LINE = 4096
_MAX_TRAILERS = 64


class ChunkedBody(io.RawIOBase):
    """The body behind a chunked framing, as a readable file.

    Args:
        source: the connection's buffered reader, at the start of the first chunk's size line.

    Reading raises ValueError where the framing is broken or ends early.
    """

    def __init__(self, source: Any) -> None:
        self._source = source
        self._left = 0
        self._begun = False
        self.ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._left == 0 and not self.ended:
            self._next_chunk()
        if self.ended or not len(buffer):
            return 0
        piece = self._source.read(min(self._left, len(buffer), 1 << 16))
        if not piece:
            raise ValueError("the chunked body ended early")
        self._left -= len(piece)
        buffer[: len(piece)] = piece
        return len(piece)

    def _next_chunk(self) -> None:
        if self._begun and self._line() != b"":
            raise ValueError("a chunk is longer than its size says")
        self._begun = True
        size = self._line().split(b";", 1)[0].strip()
        if not size or len(size) > 16 or not all(digit in b"0123456789abcdefABCDEF" for digit in size):
            raise ValueError("a chunk's size is not a hexadecimal number")
        self._left = int(size, 16)
        if self._left == 0:
            self._skip_trailers()
            self.ended = True

    def _skip_trailers(self) -> None:
        for _ in range(_MAX_TRAILERS):
            if self._line() == b"":
                return
        raise ValueError("the chunked body has too many trailers")

    def _line(self) -> bytes:
        line: bytes = self._source.readline(_MAX_LINE)
        if not line.endswith(b"\n"):
            raise ValueError("the chunked body ended early")
        return line.rstrip(b"\r\n")
