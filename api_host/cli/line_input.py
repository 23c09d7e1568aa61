"""Lines that a person types: arrow keys, a history that outlives the chat, completion by Tab.

All of it is readline's; without that module (or a terminal) lines are read without it. Knows nothing of what they mean.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

try:
    import readline
except ImportError:  # a Python that was built without it
    readline = None  # type: ignore[assignment]

HISTORY_LINES = 1000
_PROMPT = "> "
# readline must be told which characters take no room.
_BOLD_PROMPT = f"\001\033[1m\002{_PROMPT}\001\033[0m\002"

# The words that may stand where the cursor is, for a line up to there.
Complete = Callable[[str], list[str]]


def history_file() -> Path | None:
    """``<the user's state folder>/api-host/chat_history``; None of a user without a home."""
    try:
        base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    except RuntimeError:
        return None
    return Path(base) / "api-host" / "chat_history"


class LineInput:
    """Reads lines from the terminal on stdin.

    Args:
        complete: what Tab offers.
        history: the file that keeps the lines, readable by its owner alone; None keeps them for this chat only.
        on_problem: is told why the file cannot be used; the chat goes on without.
    """

    def __init__(self, complete: Complete, history: Path | None, on_problem: Callable[[str], None]) -> None:
        self._complete = complete
        self._offers: list[str] = []
        self._n_kept = 0
        self._history = history
        self._on_problem = on_problem
        self._styled = sys.stdout.isatty() and readline is not None and not os.environ.get("NO_COLOR")

    def __iter__(self) -> Iterator[str]:
        """Lines until Ctrl-D. Ctrl-C drops what has been typed; on an empty line it raises KeyboardInterrupt."""
        self._prepare()
        while True:
            try:
                line = self._read()
            except EOFError:
                print(file=sys.stderr)
                return
            except KeyboardInterrupt:
                print(file=sys.stderr)
                if readline is None or not readline.get_line_buffer():
                    raise
                continue
            if readline is not None and self._history is not None:
                self._keep(self._history)
            yield line.strip()

    def _read(self) -> str:
        if sys.stdout.isatty():
            return input(_BOLD_PROMPT if self._styled else _PROMPT)
        print(_PROMPT, end="", file=sys.stderr, flush=True)
        return input()

    def _prepare(self) -> None:
        if readline is None:
            return
        readline.set_completer(self._offer)
        readline.set_completer_delims(" \t")
        readline.parse_and_bind("tab: complete")
        readline.set_history_length(HISTORY_LINES)
        if self._history is not None:
            with self._minding_the_file(self._history) as path:
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                os.close(os.open(path, os.O_CREAT | os.O_RDONLY, 0o600))
                path.chmod(0o600)
                readline.read_history_file(path)
            self._n_kept = readline.get_current_history_length()

    def _keep(self, history: Path) -> None:
        """Writes the newest line, so that a chat that is killed has lost nothing."""
        n_lines = readline.get_current_history_length()
        if n_lines > self._n_kept:
            with self._minding_the_file(history) as path:
                readline.append_history_file(1, path)
        self._n_kept = n_lines

    @contextlib.contextmanager
    def _minding_the_file(self, path: Path) -> Iterator[Path]:
        try:
            yield path
        except OSError as error:
            self._history = None
            self._on_problem(f"what is typed here is not kept in {path}: {error.strerror}")

    def _offer(self, word: str, number: int) -> str | None:
        """readline asks for one offer after the other."""
        if number == 0:
            before = readline.get_line_buffer()[: readline.get_endidx()]
            self._offers = [offer for offer in self._complete(before) if offer.startswith(word)]
        return self._offers[number] if number < len(self._offers) else None
