"""The parent of cloudflared: ends it when the host is gone, however the host went.

Run by its path as ``python -I -S guard.py GRACE_S PROGRAM ARGUMENT...``, so that it starts in
milliseconds and imports the standard library only. The host holds the other end of standard input; when
that closes, because the host closed it or was killed, the program gets SIGTERM and after GRACE_S seconds
SIGKILL. A parent-death signal would do the same on Linux only, and would fire when the thread that
launched it ends. Knows nothing of what the program does.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading

CANNOT_RUN = 126


def _end_with_host(program: subprocess.Popen[bytes], grace_s: float) -> None:
    while os.read(0, 4096):
        pass
    program.terminate()
    try:
        program.wait(grace_s)
    except subprocess.TimeoutExpired:
        program.kill()


def main(arguments: list[str]) -> int:
    """Run the program until it ends or standard input closes; its exit code, 128 + N for signal N."""
    grace_s, command = float(arguments[0]), arguments[1:]
    try:
        program = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    except OSError as error:
        print(f"cannot be run: {error.strerror}", file=sys.stderr, flush=True)
        return CANNOT_RUN
    threading.Thread(target=_end_with_host, args=(program, grace_s), daemon=True).start()
    code = program.wait()
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    # The thread that reads standard input may block for ever; a normal exit would wait for its lock.
    os._exit(main(sys.argv[1:]))
