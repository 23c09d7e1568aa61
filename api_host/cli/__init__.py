"""The console script ``api-host``: how a command ends, whatever happens in it.

Knows no command; `root` lists them, `exits` has the exit codes. Everything heavy is imported inside ``main``, so that
even a Ctrl-C during the imports ends without a traceback.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from pathlib import Path
from types import FrameType

from api_host.cli import exits
from api_host.cli.printable import printable


def main(arguments: list[str] | None = None) -> None:
    """Runs one command and leaves the process with its exit code; ``arguments`` None is ``sys.argv``."""
    _open_what_is_closed()
    _replace_what_is_no_text()
    try:
        signal.signal(signal.SIGTERM, _terminate)
        code = _run(arguments)
    except KeyboardInterrupt:
        code = exits.INTERRUPTED
    # From here on a second Ctrl-C could only break the interpreter's shutdown.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _flush()
    sys.exit(code)


def _open_what_is_closed() -> None:
    """A standard stream that is closed (``<&-``) is an empty one, here and in the processes that are started."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            stream = Path(os.devnull).open(mode)  # noqa: SIM115 (as long as the process)
            os.set_inheritable(stream.fileno(), True)
            setattr(sys, name, stream)


def _replace_what_is_no_text() -> None:
    """Bytes and characters that the terminal's encoding does not know become question marks, not errors."""
    for stream in (sys.stdin, sys.stdout):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _terminate(number: int, frame: FrameType | None) -> None:
    raise SystemExit(exits.TERMINATED)


def _run(arguments: list[str] | None) -> int:
    import click

    from api_host.cli.root import cli

    try:
        # Outside of standalone mode click returns the code of an early exit (--help), and raises the rest.
        return cli.main(arguments, prog_name="api-host", standalone_mode=False) or exits.DONE
    except click.Abort:
        return exits.INTERRUPTED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except Exception as error:
        code = exits.exit_code_of(error)
        if code is None:
            raise
        sys.stderr.write(f"Error: {printable(exits.sentence_of(error))}\n")
        return code


def _flush() -> None:
    """A reader that has gone (``api-host ls | head``) is no error of ours."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
