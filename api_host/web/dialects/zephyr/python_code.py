"""Python code in one style, by black, where it parses and where black is installed.

Knows nothing of what the code is for, and never runs it. black works in a process of its own: it holds the interpreter
while it formats, which takes seconds for long code, and tokens flow meanwhile.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import subprocess
import sys
import threading

log = logging.getLogger(__name__)

TIMEOUT_S = 5.0

_BLACK = ("-m", "black", "--quiet", "--fast", "--config", os.devnull, "-")
_one_at_a_time = threading.Lock()


def is_python(language: str) -> bool:
    """Whether a language's name means Python."""
    return language.strip().lower() in ("python", "python3", "py")


def formatted(code: str, timeout: float = TIMEOUT_S) -> str:
    """The code as black writes it; as it came when it does not parse, takes too long, or black is missing.

    Args:
        code: any text.
        timeout: seconds to wait for one's turn, and again for black.
    """
    if importlib.util.find_spec("black") is None or not _one_at_a_time.acquire(timeout=timeout):
        return code
    try:
        done = subprocess.run(
            [sys.executable, *_BLACK], input=code.encode(), capture_output=True, timeout=timeout
        )
        return done.stdout.decode() if done.returncode == 0 else code
    except (subprocess.TimeoutExpired, OSError, UnicodeError) as failure:
        log.info("code stays as it came: %s", type(failure).__name__)
        return code
    finally:
        _one_at_a_time.release()
