"""Sends bytes without letting go of the interpreter's lock.

``socket.send`` lets go of it around the system call, also where that cannot wait. Where other threads want it, it is
gone then, and two switches of threads are paid for a call of microseconds (docs/performance.md).
"""

from __future__ import annotations

import ctypes
import socket


class _Descriptor:
    """A socket as C takes it; asked for inside the call.

    Asked for before, it may be closed by another thread meanwhile, and its number be another client's.
    """

    from_param = staticmethod(socket.socket.fileno)


# A PyDLL, unlike a CDLL, calls with the lock held.
_send = ctypes.PyDLL(None).send
_send.argtypes = (_Descriptor, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int)  # type: ignore[assignment]
_send.restype = ctypes.c_ssize_t


def send_all(sock: socket.socket, data: bytes) -> None:
    """``sock.sendall(data)``, which is called only for what does not fit the socket's buffer, or to tell an error."""
    sent = _send(sock, data, len(data), socket.MSG_DONTWAIT)
    if sent < len(data):
        sock.sendall(memoryview(data)[max(sent, 0) :])
