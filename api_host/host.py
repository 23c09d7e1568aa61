"""ApiHost: builds the parts of a host from its settings, starts them, stops them.

Knows what the parts are and in which order they come and go; what they do is theirs.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from api_host import __version__, credentials
from api_host.config import HostConfig
from api_host.engine.process import Worker
from api_host.facts import Addresses, Facts, FactsReader
from api_host.metrics import Metrics
from api_host.models.hub.before_gguf import ConvertingHub
from api_host.models.hub.hub import Hub
from api_host.models.pool.pool import ModelPool
from api_host.notebook import announcement_for, in_notebook
from api_host.pipeline import Defaults, Pipeline
from api_host.response_cache.cached import with_cache
from api_host.response_cache.loaded_files import LoadedFiles
from api_host.response_cache.store import open_store
from api_host.signals import SignalWatch
from api_host.tunnel import Tunnel
from api_host.web.app import close_app, create_app
from api_host.web.cache_control import CacheControl
from api_host.web.server import Server
from api_host_client import Client

_of_the_notebook: ApiHost | None = None
_EVERY_ADDRESS = ("0.0.0.0", "::", "")


class ApiHost:
    """A private LLM API with a URL.

    ``ApiHost(model="owner/name-GGUF:Q4_K_M").run()`` is all it takes; ``start`` and ``stop`` don't block, and a
    ``with`` block does both. An argument that is left out (None) is taken from the environment (``API_HOST_PORT``),
    from ``config.yaml`` in the current folder, or from the defaults of ``HostConfig``.

    Args:
        model: reference of the default model, loaded in the background from the start; without one, each
            request names its own.
        use_token: False serves whoever has the URL.
        token: the access token, 8 to 512 characters; a new one is made when there is none.
        tunnel: whether to ask Cloudflare for a public URL.
        port: where to listen; a taken port moves on to the next free one, 0 is any free one.
        ctx_length: tokens a sequence.
        n_gpu_layers: layers on the GPU; "auto" is as many as fit, -1 all, 0 none.
        parallel: sequences that one model runs at once; "auto" is 4 on a CPU and 8 on a GPU.
        models_dir: the folder of downloads and of local GGUFs.
        announce: False prints nothing but what is asked for (``show_token``).
        **settings: further settings of ``HostConfig``.

    Raises:
        pydantic.ValidationError: a setting has a value that is not allowed, or there is no such setting.
        InvalidRequest: ``model`` or ``draft_model`` is not the name of a model.
    """

    def __init__(
        self,
        model: str | None = None,
        use_token: bool | None = None,
        token: str | None = None,
        tunnel: bool | None = None,
        port: int | None = None,
        ctx_length: int | None = None,
        n_gpu_layers: int | Literal["auto"] | None = None,
        parallel: int | Literal["auto"] | None = None,
        models_dir: str | Path | None = None,
        *,
        announce: bool = True,
        **settings: Any,
    ) -> None:
        self.config = HostConfig.from_arguments(
            model=model,
            use_token=use_token,
            token=token,
            tunnel=tunnel,
            port=port,
            ctx_length=ctx_length,
            n_gpu_layers=n_gpu_layers,
            parallel=parallel,
            models_dir=models_dir,
            **settings,
        )
        self.access_token = credentials.access_token(self.config)
        self._hub_token = credentials.hub_token(self.config)
        self._announce(quiet=not announce)
        self._lock = threading.RLock()
        self._wakers: set[Callable[[], None]] = set()
        self._running: contextlib.ExitStack | None = None
        self._port = 0
        self._started: float | None = None
        self._tunnel: Tunnel | None = None
        self._no_public_url: str | None = None
        self._build()

    def _build(self) -> None:
        config = self.config
        kind = ConvertingHub if config.convert else Hub
        hub = kind(config.models_dir, self._hub_token, config.stall_timeout, config.disk_reserve)
        metrics, files = Metrics(), LoadedFiles()
        self._pool = ModelPool(
            config,
            hub,
            files.noting(Worker.start),
            on_loaded=lambda name, info: self._announcement.loaded(name, info),
            on_failed=lambda name, error: self._announcement.failed(name, error),
            on_downloaded=metrics.downloaded,
        )
        metrics.engine_stats = self._pool.engine_stats
        self._store = open_store(config)
        defaults = Defaults(config.chat_format, config.seed, config.lora)
        pipeline = Pipeline(self._pool, config.model, hub.cache.list, defaults)
        self._pipeline = with_cache(pipeline, self._store, metrics, CacheControl(), config, hub.locate, files)
        self._facts = FactsReader(
            self._addresses, lambda: self._started, self._pool.entries, pipeline.default_model, metrics
        )
        self.app = create_app(self._pipeline, self.access_token, metrics, __version__)

    def _announce(self, quiet: bool) -> None:
        self._quiet, names_model = quiet, self.config.model is None
        self._announcement = announcement_for(self.access_token, names_model, quiet, self.facts)

    @property
    def running(self) -> bool:
        return self._running is not None

    @property
    def local_url(self) -> str:
        """Where this machine reaches the host. Raises RuntimeError while it is not running."""
        if not self.running:
            raise RuntimeError("the host is not running; call start() first")
        return _url(self.config.address, self._port)

    @property
    def url(self) -> str:
        """The public URL when there is one, else the local one. Raises RuntimeError while it is not running."""
        return self._public_url or self.local_url

    @property
    def _public_url(self) -> str | None:
        return self._tunnel.url if self._tunnel is not None else None

    def facts(self) -> Facts:
        """What there is to know of this host now: addresses, models, GPUs, memory, requests, speed, the last error."""
        return self._facts.read()

    def _addresses(self) -> Addresses:
        local = _url(self.config.address, self._port) if self._started is not None else None
        return Addresses(local, self._public_url, self._no_public_url, self.config.tunnel)

    def show_token(self, seconds: float = 60.0) -> None:
        """Shows the access token, and a link that signs in to the chat page with it.

        In a notebook they are taken out of the cell's output again after ``seconds``, so that they are not saved with
        it; elsewhere they are printed. Raises RuntimeError while the host is not running.
        """
        self._announcement.show_token(self.url, seconds)

    def client(self) -> Client:
        """A client of this host, on this machine. Raises RuntimeError while it is not running."""
        return Client(self.local_url, self.access_token)

    def start(self) -> ApiHost:
        """Serves in the background, and prints token and URLs, or shows a card in a notebook; again if it runs.

        In a notebook there is one host: a cell that is run again finds the one that runs, with its token, models
        and tunnel, or replaces it when the settings have changed.

        Returns:
            The host itself.

        Raises:
            ApiHostError: no port is free. OSError: ``address`` is not one of this machine's.
        """
        if in_notebook():
            self._take_over()
        with self._lock:
            self._announcement.begin()
            if self._running is None:
                with contextlib.ExitStack() as parts:
                    self._start(parts)
                    self._running = parts.pop_all()
            else:
                self._announcement.local(self.local_url, is_all=self._public_url is None)
                if self._public_url is not None:
                    self._announcement.public(self._public_url)
        return self

    def _take_over(self) -> None:
        """What an earlier run of the cell has left: the same host goes on under a new name, another one ends."""
        global _of_the_notebook
        before, _of_the_notebook = _of_the_notebook, self
        if before is None or before is self:
            return
        with before._lock:
            if before.running and (before.config, before._hub_token) == (self.config, self._hub_token):
                before._wakers |= self._wakers
                if before._quiet and not self._quiet:
                    before._announcement.end()
                    before._announce(quiet=False)
                self.__dict__ = before.__dict__
            else:
                before.stop()

    def _start(self, parts: contextlib.ExitStack) -> None:
        """Starts the parts; what ends them goes on ``parts``, which runs it in reverse."""
        self._pid = os.getpid()
        parts.callback(self._wake)
        atexit.register(self.stop)
        parts.callback(atexit.unregister, self.stop)
        parts.callback(self._build)
        parts.callback(lambda: self._announcement.end())
        if self._store is not None:
            parts.callback(self._store.close)
        parts.callback(close_app, self.app)
        server = Server(self.app, self.config.address, self.config.port)
        self._port = server.start()
        parts.callback(server.stop)
        # The pool ends first of these, so that whoever waits is told why before the connection is cut.
        parts.callback(self._pool.stop)
        if self.config.port not in (0, self._port):
            self._announcement.say(f"Port {self.config.port} is taken; the host is on {self._port} instead")
        self._started = time.monotonic()
        parts.callback(self._note_stopped)
        url = _url(self.config.address, self._port)
        self._announcement.local(url, is_all=not self.config.tunnel)
        self._pipeline.preload()
        if self.config.tunnel:
            self._tunnel = Tunnel(url, self._note_public, self._note_no_public)
            parts.callback(self._stop_tunnel, self._tunnel)
            self._tunnel.start_in_background()

    def stop(self) -> None:
        """Ends the server, the models, the tunnel, and all threads; a host that does not run stays as it is."""
        with self._lock:
            parts, self._running = self._running, None
            # A forked child that ends has the sockets of these, and none of the threads.
            if parts is not None and os.getpid() == self._pid:
                parts.close()

    def _wake(self) -> None:
        """Has every ``run`` of this host return."""
        for wake in tuple(self._wakers):
            wake()

    def run(self) -> None:
        """Serves until interrupted (Ctrl-C, a notebook's stop button, SIGTERM) or stopped by another thread.

        Returns when all has ended; a handler of the program's own for SIGTERM then gets that signal.
        """
        with SignalWatch() as signals:
            self._wakers.add(signals.wake)
            try:
                self.start()
                self._announcement.say("Serving until interrupted (Ctrl-C, or the stop button of the cell)")
                number = signals.wait()
                self._announcement.say("Stopping")
            finally:
                self._wakers.discard(signals.wake)
                if not signals.woken:  # else another thread has stopped it, and may have started it again
                    self.stop()
        if number == signal.SIGTERM and callable(signal.getsignal(number)):
            signal.raise_signal(number)

    def __enter__(self) -> ApiHost:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _stop_tunnel(self, tunnel: Tunnel) -> None:
        tunnel.stop()
        self._tunnel = None

    def _note_public(self, url: str) -> None:
        self._no_public_url = None
        self._announcement.public(url)

    def _note_no_public(self, reason: str) -> None:
        self._no_public_url = reason
        self._announcement.no_public(reason)

    def _note_stopped(self) -> None:
        self._started = self._no_public_url = None


def _url(address: str, port: int) -> str:
    host = "127.0.0.1" if address in _EVERY_ADDRESS else f"[{address}]" if ":" in address else address
    return f"http://{host}:{port}"
