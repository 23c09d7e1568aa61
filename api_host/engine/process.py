"""The host's handle on a worker process: starts it, sends requests, hands its events to whoever waits for them.

Knows nothing of llama.cpp (that lives in the worker) or of which model to load when (that is the pool's).
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path

from api_host import errors
from api_host.engine.messages import (
    LOADED_LINE,
    RECEIVE_BYTES,
    Cancel,
    Embed,
    Embedded,
    EngineStats,
    FrameReader,
    FromWorker,
    Generate,
    Load,
    Loaded,
    LoadFailed,
    ModelInfo,
    RequestFailed,
    RequestFinished,
    Step,
    ToWorker,
    frame,
    from_worker_decoder,
)
from api_host.engine.request_stream import RequestStream
from api_host.errors import Cancelled, InvalidRequest, WorkerDied, without_paths
from api_host.generation import GenerationRequest
from api_host.sending import send_all

log = logging.getLogger(__name__)

STDERR_LINES = 30
_PACKAGE_PARENT = Path(__file__).resolve().parents[2]
# How long llama.cpp's threads spin for each other: a little longer than what happens between two decodes takes.
# libgomp's default is 30 times as long, so that threads without a core could not be told from busy ones (threads.py).
_PATIENCE = {"GOMP_SPINCOUNT": "10000"}
# glibc's malloc then asks for huge pages wherever it maps memory (huge_pages.py); it reads this when a process starts.
_HUGE_PAGES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}


class Worker:
    """A worker process with one loaded model. Make it with ``Worker.start``."""

    def __init__(self, load: Load, on_exit: Callable[[Worker], None] | None = None) -> None:
        self.info: ModelInfo | None = None
        self.stats = EngineStats()
        self._on_exit = on_exit
        self._ids = itertools.count(1)
        self._streams: dict[int, RequestStream] = {}
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._stopping = self._gone = self._ended = False
        self._outcome: Loaded | LoadFailed | None = None
        self._settled = threading.Event()
        self._stderr: deque[str] = deque(maxlen=STDERR_LINES)
        files = [load.path, *([load.draft_model] if load.draft_model is not None else [])]
        self._folders = {Path(sys.prefix), _PACKAGE_PARENT, *(Path(file).parent for file in files)}
        self._sock, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "api_host.engine.worker", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env=_environment(),
                start_new_session=True,
            )
        self.pid = self._process.pid
        self._stderr_reader = threading.Thread(target=self._read_stderr, name=f"worker-{self.pid}-stderr")
        self._reader = threading.Thread(target=self._read, name=f"worker-{self.pid}", daemon=True)
        self._stderr_reader.daemon = True
        self._stderr_reader.start()
        self._reader.start()
        self._send(load)

    @classmethod
    def start(
        cls,
        load: Load,
        on_exit: Callable[[Worker], None] | None = None,
        on_start: Callable[[Worker], None] | None = None,
    ) -> Worker:
        """Starts a worker and waits until its model is loaded.

        Args:
            load: what to load, and how.
            on_exit: called from a thread when the process of a loaded model has ended, for whatever reason.
            on_start: called with the worker before the waiting, so that another thread can ``stop`` it.

        Raises:
            ModelLoadFailed, OutOfMemory: the worker's reason. WorkerDied: the process ended (a ggml abort).
            Cancelled: ``stop`` was called meanwhile.
        """
        worker = cls(load, on_exit)
        if on_start is not None:
            on_start(worker)
        worker._settled.wait()
        match worker._outcome:
            case Loaded(info=info):
                worker.info = info
                return worker
            case LoadFailed() as failed:
                worker.stop()
                raise errors.from_code(failed.code, failed.message, failed.details)
        stopped = worker._stopping
        worker.stop()
        if stopped:
            raise Cancelled("loading the model was cancelled")
        raise worker.death()

    @property
    def alive(self) -> bool:
        """Whether its process runs, as far as the socket tells: asking the system costs every request a call."""
        return not self._stopping and not self._gone

    def generate(
        self,
        request: GenerationRequest,
        n_ctx: int | None = None,
        *,
        count_only: bool = False,
        adapters: list[tuple[str, float]] | None = None,
    ) -> RequestStream:
        """Sends a request; its stream begins with RequestAccepted, and with ``count_only`` all but ends there.

        ``adapters`` are paths and scales of LoRA adapters.

        Raises:
            WorkerDied: the process has ended.
            InvalidRequest: something that no message can carry, such as a number beyond 64 bits.
        """
        if adapters:
            self._folders = {*self._folders, *(Path(path).parent for path, _ in adapters)}
        return self._request(lambda id: Generate(id, request, n_ctx, count_only, adapters or []))

    def embed(self, texts: list[str | list[int]], *, truncate: bool = False) -> RequestStream:
        """Sends texts; the only event of the stream is Embedded. Raises as ``generate``."""
        return self._request(lambda id: Embed(id, texts, truncate))

    def _request(self, message: Callable[[int], ToWorker]) -> RequestStream:
        request_id = next(self._ids)
        stream = RequestStream(cancel=lambda: self._cancel(request_id))
        with self._lock:
            if self._ended:
                raise self.death()
            self._streams[request_id] = stream
        try:
            self._send(message(request_id))
        except (OverflowError, RecursionError, UnicodeError) as error:
            with self._lock:
                self._streams.pop(request_id, None)
            raise InvalidRequest(
                "inputs: somewhere in the request is a whole number beyond 64 bits, half of a pair of surrogates, or "
                f"what is nested too deeply ({type(error).__name__})"
            ) from error
        return stream

    def stop(self, timeout: float = 5.0) -> None:
        """Ends the process (kills it after ``timeout`` seconds) and its threads; running requests are Cancelled."""
        self._stopping = True
        # The worker reads the end of the socket, and so does a thread of ours that is just sending to one that hangs.
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)
        if not self._settled.is_set():
            self._process.kill()
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for thread in (self._reader, self._stderr_reader):
            if thread is not threading.current_thread():
                thread.join()

    def death(self) -> WorkerDied:
        """How the process ended, with the end of what it printed (paths cut) since its model was loaded, if it was."""
        code = self._process.poll()
        how = "ended unexpectedly"
        if code is not None and code < 0:
            how = f"was killed by {_signal(-code)}"
        elif code:
            how = f"ended with exit code {code}"
        lines = [without_paths(line, *self._folders) for line in self._stderr]
        said = f"; it printed last: {' / '.join(lines[-3:])}" if lines else ""
        return WorkerDied(
            f"the model's process {how}{said}. The next request starts a new one",
            stderr="\n".join(lines),
        )

    def _send(self, message: ToWorker) -> None:
        """Sends; a worker that has gone is noticed by the reader, which fails its streams."""
        data = frame(message)
        with self._sending, contextlib.suppress(OSError):
            send_all(self._sock, data)

    def _cancel(self, request_id: int) -> None:
        with self._lock:
            known = self._streams.pop(request_id, None)
        if known is not None:
            self._send(Cancel(request_id))

    def _read(self) -> None:
        """The reader thread: all that the worker says, until its end of the socket closes."""
        frames = FrameReader()
        with self._sock:
            while data := self._receive():
                for one in frames.feed(data):
                    self._take(from_worker_decoder.decode(one))
        self._gone = True
        self._process.wait()
        self._stderr_reader.join()
        self._end()

    def _receive(self) -> bytes:
        try:
            return self._sock.recv(RECEIVE_BYTES)
        except ConnectionResetError:
            return b""

    def _take(self, message: FromWorker) -> None:
        if not isinstance(message, Step):
            self._outcome = message
            self._settled.set()
            return
        self.stats = message.stats
        for event in message.events:
            last = isinstance(event, RequestFinished | RequestFailed | Embedded)
            with self._lock:
                stream = self._streams.pop(event.id, None) if last else self._streams.get(event.id)
            if stream is not None:
                stream.put(event)

    def _end(self) -> None:
        self.stats = EngineStats()
        with self._lock:
            self._ended = True
            streams, self._streams = list(self._streams.values()), {}
        for stream in streams:
            stream.put(Cancelled("the model was unloaded") if self._stopping else self.death())
        was_loaded = isinstance(self._outcome, Loaded)
        self._settled.set()
        if was_loaded and self._on_exit is not None:
            self._on_exit(self)

    def _read_stderr(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as pipe:
            for line in pipe:
                text = line.decode("utf-8", "replace").rstrip()
                if text == LOADED_LINE:
                    # What is said of a load that went well is no reason for an end long after it.
                    self._stderr.clear()
                elif text:
                    self._stderr.append(text)
                    log.debug("worker %s: %s", self.pid, text)


def _signal(number: int) -> str:
    """The name of a signal; most of the real-time ones have none."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _environment() -> dict[str, str]:
    """The worker finds this package wherever the host found it, and nothing in the current folder shadows it."""
    paths = [str(_PACKAGE_PARENT), *filter(None, [os.environ.get("PYTHONPATH")])]
    secrets = ("API_HOST_TOKEN", "API_HOST_HUB_TOKEN", "HF_TOKEN")
    kept = {name: value for name, value in os.environ.items() if name not in secrets}
    # Without GGML_NO_BACKTRACE an abort runs a debugger for seconds and buries its reason.
    own = {"PYTHONPATH": os.pathsep.join(paths), "PYTHONSAFEPATH": "1", "GGML_NO_BACKTRACE": "1"}
    return {**_PATIENCE, **_HUGE_PAGES, **kept, **own}
