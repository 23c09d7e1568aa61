"""What an exit code of the console script says, and which one an error gets. Prints nothing.

0  done                             5  not reached: host, hub or network
1  an error of another kind         6  no room: disk or memory
2  wrong usage: a name or a value   7  busy: try again later
3  no such model, file or route   130  ended by Ctrl-C
4  refused: access or hub token   143  ended by SIGTERM
"""

from __future__ import annotations

import difflib
from typing import Any

DONE = 0
FAILED = 1
USAGE = 2
NOT_FOUND = 3
REFUSED = 4
UNREACHABLE = 5
NO_ROOM = 6
BUSY = 7
INTERRUPTED = 130
TERMINATED = 143

_OF_CODES = {
    "invalid_request": USAGE,
    "model_not_named": USAGE,
    "repo_not_found": NOT_FOUND,
    "file_not_found": NOT_FOUND,
    "not_found": NOT_FOUND,
    "wrong_token": REFUSED,
    "gated_repo": REFUSED,
    "hub_token_rejected": REFUSED,
    "hub_unreachable": UNREACHABLE,
    "disk_full": NO_ROOM,
    "out_of_memory": NO_ROOM,
    "queue_full": BUSY,
    "hub_rate_limited": BUSY,
    "host_stopping": BUSY,
    "model_busy": BUSY,
}


def exit_code_of(error: Exception) -> int | None:
    """The exit code of an error that a person can read; None for a fault of the program."""
    # Needed by a command that fails only, and slow to import.
    from pydantic import ValidationError

    from api_host.errors import ApiHostError
    from api_host_client import ClientError, ConnectionFailed, EdgeError
    from api_host_client.errors import AccessDenied, TooManyRequests

    match error:
        case ValidationError():
            return USAGE
        case AccessDenied():
            return REFUSED
        case TooManyRequests():
            return BUSY
        case ConnectionFailed() | EdgeError():
            return UNREACHABLE
        case ApiHostError() | ClientError():
            return _OF_CODES.get(str(getattr(error, "code", "")), FAILED)
        case OSError():
            return FAILED
    return None


def sentence_of(error: Exception) -> str:
    """The error in one line."""
    from pydantic import ValidationError

    told = str(error)
    if isinstance(error, ValidationError):
        told = "; ".join(_problem(dict(problem)) for problem in error.errors())
    return " ".join(told.split())


def _problem(problem: dict[str, Any]) -> str:
    from api_host.config import HostConfig

    # Of the place only the setting and the numbers of list items are its reader's: the rest are names of types.
    first, *deeper = problem["loc"] or ("",)
    name = ".".join([str(first), *(str(part) for part in deeper if isinstance(part, int))])
    if problem["type"] == "extra_forbidden":
        near = difflib.get_close_matches(name, HostConfig.model_fields, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"allowed: {', '.join(HostConfig.model_fields)}"
        return f"{name}: there is no such setting; {hint}"
    if problem["type"] == "value_error":
        return str(problem["ctx"]["error"])  # names its setting itself
    return f"{name}: {problem['msg']}"
