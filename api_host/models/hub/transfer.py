"""The host's handle on downloads: starts a child, follows it, ends it when it stalls, and takes up what broke off.

Knows processes and time; what a hub or a cache is, only the child knows.
"""

from __future__ import annotations

import logging
import os
import queue
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import msgspec

import api_host.models
from api_host.errors import Cancelled, DownloadFailed, DownloadStalled, from_code
from api_host.models.hub.messages import (
    Done,
    Download,
    Failed,
    FromChild,
    Interrupted,
    Moved,
    encode,
    from_child_decoder,
)

log = logging.getLogger(__name__)

MAX_FRUITLESS = 3
"""Attempts in a row without a new byte, after which a download is given up."""

_START_S = 60.0
_LOOK_EVERY_S = 0.1
_PAUSE_S = 1.0
_STDERR_CHARACTERS = 2000
_PATH = re.compile(r"(?:[A-Za-z]:)?(?:[/\\][^/\\\s:'\"]+)*[/\\]([^/\\\s:'\"]+)")
_TOKEN = re.compile(r"hf_[A-Za-z0-9]{20,}")


@dataclass
class Progress:
    """How far a download is.

    ``bytes_done`` of ``bytes_total`` over all parts of the model; ``resumed`` counts how often it was taken up
    again; ``rate`` is in bytes a second over the last seconds.
    """

    file: str
    bytes_done: int
    bytes_total: int
    resumed: int = 0
    rate: float = 0.0


class Transfer:
    """One download, with as many children as it takes.

    Args:
        request: what the child is to fetch.
        stall_timeout: seconds without a new byte after which a child is ended and another one goes on.
        endpoint: the hub's address; None is ``HF_ENDPOINT``, or huggingface.co.
    """

    def __init__(self, request: Download, stall_timeout: float, endpoint: str | None) -> None:
        self._request = request
        self._stall_timeout = stall_timeout
        self._endpoint = endpoint
        self._best = 0
        self._resumed = 0

    def run(self, on_moved: Callable[[Moved, int], None], cancel: threading.Event) -> Path:
        """Downloads; blocks until the end.

        Args:
            on_moved: takes each Moved, and how often the download has been resumed.
            cancel: ends the child when it is set.

        Returns:
            The path of the GGUF.

        Raises:
            Cancelled: ``cancel`` was set.
            DownloadStalled, DownloadFailed: three attempts in a row brought nothing; a child died.
            ApiHostError: what the child reported.
        """
        fruitless = 0
        while True:
            before = self._best
            child = _Child(self._request, self._endpoint, self._stall_timeout, xet=self._resumed == 0)
            with child:
                outcome = child.follow(lambda moved: self._note(moved, on_moved), cancel)
            if isinstance(outcome, Done):
                return Path(outcome.path)
            if isinstance(outcome, Failed):
                raise from_code(
                    outcome.code, outcome.message, {**outcome.details, "retry_after": outcome.retry_after}
                )
            fruitless = 0 if self._best > before else fruitless + 1
            if fruitless >= MAX_FRUITLESS:
                raise self._given_up(outcome)
            self._resumed += 1
            if outcome is not None and cancel.wait(min(_PAUSE_S, self._stall_timeout)):
                raise Cancelled("the download was cancelled; what has arrived stays for the next time")

    def _note(self, moved: Moved, on_moved: Callable[[Moved, int], None]) -> None:
        self._best = max(self._best, moved.done)
        on_moved(moved, self._resumed)

    def _given_up(self, outcome: Interrupted | None) -> DownloadStalled | DownloadFailed:
        name = self._request.file_name or self._request.repo_id
        so_far = f"what has arrived ({self._best:,} bytes) stays for the next time"
        if outcome is None:
            return DownloadStalled(
                f"{name}: no new bytes from the hub for {self._stall_timeout:g} s, {MAX_FRUITLESS} times in a row;"
                f" check this host's network and try again; {so_far}",
                bytes_done=self._best,
            )
        return DownloadFailed(
            f"{name}: the download breaks off again and again ({self._safe(outcome.reason)}); check this host's"
            f" network and try again; {so_far}",
            bytes_done=self._best,
        )

    def _safe(self, text: str) -> str:
        return redacted(text, self._request.token)


class _Child:
    """One child process; a context manager that leaves none behind."""

    def __init__(self, request: Download, endpoint: str | None, stall_timeout: float, xet: bool) -> None:
        self._request = request
        self._environment = _environment(endpoint, xet)
        self._stall_timeout = stall_timeout
        self._messages: queue.SimpleQueue[FromChild | None] = queue.SimpleQueue()

    def __enter__(self) -> _Child:
        self._stderr = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "api_host.models.hub.download"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env=self._environment,
            start_new_session=True,  # a Ctrl-C in the terminal is for the host, which then ends the child
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._reader = threading.Thread(
            target=self._read, args=(self._process.stdout,), name="download", daemon=True
        )
        self._reader.start()
        try:
            self._process.stdin.write(encode(self._request) + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended already; follow() tells why
        return self

    def __exit__(self, *exception: object) -> None:
        # Killed, not asked: the library deletes the partial file when it is ended in order.
        self._process.kill()
        self._process.wait()
        self._reader.join()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            _close(pipe)
        self._stderr.close()

    def follow(
        self, on_moved: Callable[[Moved], None], cancel: threading.Event
    ) -> Done | Failed | Interrupted | None:
        """Reads until the child's last word; None when it has stalled. Raises Cancelled, DownloadFailed."""
        deadline = time.monotonic() + max(_START_S, self._stall_timeout)
        activity = -1
        while True:
            if cancel.is_set():
                raise Cancelled("the download was cancelled; what has arrived stays for the next time")
            try:
                message = self._messages.get(timeout=_LOOK_EVERY_S)
            except queue.Empty:
                if time.monotonic() > deadline:
                    return None
                continue
            if message is None:
                raise self._died()
            if not isinstance(message, Moved):
                return message
            if message.activity != activity:
                activity = message.activity
                deadline = time.monotonic() + self._stall_timeout
            on_moved(message)

    def _read(self, stdout: IO[bytes]) -> None:
        for line in stdout:
            # What a library prints while it is imported comes before the child keeps its output to itself.
            try:
                self._messages.put(from_child_decoder.decode(line))
            except msgspec.DecodeError:
                log.debug("the download's process printed %r", line)
        self._messages.put(None)

    def _died(self) -> DownloadFailed:
        code = self._process.wait()
        self._stderr.seek(0)
        text = self._stderr.read().decode(errors="replace")[-_STDERR_CHARACTERS:].strip()
        end = redacted(text, self._request.token)
        name = self._request.file_name or self._request.repo_id
        return DownloadFailed(
            f"{name}: the download process died (exit code {code}); try again, and if it happens again, report what"
            f" it printed last: {end.splitlines()[-1] if end else 'nothing'}",
            stderr=end,
        )


def redacted(text: str, token: str | None) -> str:
    """``text`` without tokens, and with file names in the place of paths."""
    if token:
        text = text.replace(token, "***")
    return _PATH.sub(r"\1", _TOKEN.sub("***", text))


def _environment(endpoint: str | None, xet: bool) -> dict[str, str]:
    """The child's environment: the hub's address, and a library that keeps to plain files and plain requests."""
    root = str(Path(api_host.models.__file__).parents[2])
    inherited = os.environ.get("PYTHONPATH")
    environment = {
        **os.environ,
        "PYTHONPATH": f"{root}{os.pathsep}{inherited}" if inherited else root,
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_SHARED_BLOBS": "1",  # a wrong or removed file must be gone from the disk
        "HF_HUB_ENABLE_HF_TRANSFER": "0",  # reports no progress and cannot resume
        "HF_XET_RECONSTRUCT_WRITE_SEQUENTIALLY": "1",  # so that what a stalled child left can be resumed
    }
    if endpoint is not None:
        environment["HF_ENDPOINT"] = endpoint
    if not xet:
        environment["HF_HUB_DISABLE_XET"] = "1"
    return environment


def _close(pipe: IO[bytes]) -> None:
    try:
        pipe.close()
    except BrokenPipeError:
        return  # unwritten bytes for a child that has gone
