"""The console script ``api-host``: how a command ends, whatever happens in it.

Knows no command; `root` lists them. Everything heavy is imported inside ``main``, so that even a Ctrl-C
during the imports ends without a traceback.

Exit codes: 0 done, 1 an error (one line ``Error: ...`` on stderr), 2 wrong usage, 130 Ctrl-C, 143 SIGTERM.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143


def main(arguments: list[str] | None = None) -> None:
    """Runs one command and leaves the process with its exit code; ``arguments`` None is ``sys.argv``."""
    try:
        signal.signal(signal.SIGTERM, _terminate)
        code = _run(arguments)
    except KeyboardInterrupt:
        code = EXIT_INTERRUPTED
    # From here on a second Ctrl-C could only break the interpreter's shutdown.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _flush()
    sys.exit(code)


def _terminate(number: int, frame: FrameType | None) -> None:
    raise SystemExit(EXIT_TERMINATED)


def _run(arguments: list[str] | None) -> int:
    import click
    from pydantic import ValidationError

    from api_host.cli.root import cli
    from api_host.errors import ApiHostError
    from api_host_client import ClientError

    try:
        # Outside of standalone mode click returns the code of an early exit (--help), and raises the rest.
        return cli.main(arguments, prog_name="api-host", standalone_mode=False) or 0
    except click.Abort:
        return EXIT_INTERRUPTED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except ValidationError as error:
        return _fail("; ".join(_sentence(dict(problem)) for problem in error.errors()))
    except (ApiHostError, ClientError, OSError) as error:
        return _fail(str(error))


def _sentence(problem: dict[str, object]) -> str:
    location = problem["loc"]
    name = ".".join(map(str, location)) if isinstance(location, tuple) else str(location)
    return f"{name}: {problem['msg']}"


def _fail(reason: str) -> int:
    one_line = " ".join(reason.split())
    sys.stderr.write(f"Error: {one_line}\n")
    return 1


def _flush() -> None:
    """A reader that has gone (``api-host ls | head``) is no error of ours."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
