"""The tunnel as the host sees it: start, a URL that is announced, stop.

Knows nothing of cloudflared; it owns the thread in which ``watchdog.py`` keeps the tunnel up.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from api_host.errors import TunnelFailed
from api_host.tunnel.connect import Connector, Timing
from api_host.tunnel.wakeup import Stopped, Wakeup
from api_host.tunnel.watchdog import Watchdog


class Tunnel:
    """A public URL for one of this machine, kept alive until ``stop``.

    Args:
        local_url: such as ``http://127.0.0.1:8080``; something should listen there before the tunnel is announced.
        on_url: called with the public URL when the tunnel is up, and with the new one when it was replaced.
        on_problem: called with one line, the reason and the cure, when the tunnel died, or does not come up
            in the background.
        binary: path or name of the cloudflared program (None: ``API_HOST_CLOUDFLARED``, the PATH, the cache,
            or fetched).
        probe: tells whether the public URL answers (None: asks its ``/health``, unless the environment
            variable ``API_HOST_TUNNEL_PROBE`` is ``0``). The tunnel is announced even if it never does.
        url_pattern: regular expression for the public URL in cloudflared's log (None:
            ``*.trycloudflare.com``).
        timing: how long to wait for what (None: the defaults of ``Timing``).

    Both functions are called on the tunnel's own thread and may call ``stop``.
    """

    def __init__(
        self,
        local_url: str,
        on_url: Callable[[str], None],
        on_problem: Callable[[str], None],
        binary: str | None = None,
        *,
        probe: Callable[[str], bool] | None = None,
        url_pattern: str | None = None,
        timing: Timing | None = None,
    ) -> None:
        self._local_url = local_url
        self._on_url = on_url
        self._on_problem = on_problem
        self._binary = binary
        self._probe = probe
        self._url_pattern = url_pattern
        self._timing = timing or Timing()
        self._lock = threading.Lock()
        self._launching = threading.Lock()
        self._wakeup = Wakeup()
        self._watchdog: Watchdog | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str | None:
        """The public URL that was announced last; None while the tunnel is down."""
        return self._watchdog.url if self._watchdog else None

    def start(self) -> str:
        """Bring the tunnel up, wait until it works, and keep it up from then on.

        A tunnel that is up stays as it is. Without a network, or refused with 429, this fails within
        2 s.

        Returns:
            The public URL; ``on_url`` was called with it.

        Raises:
            TunnelFailed: in one line why, and the cure. Nothing is left running and nothing is tried again,
                unless ``start_in_background`` was called before.
        """
        watchdog, wakeup = self._launch(patient=False)
        try:
            wakeup.wait(lambda: bool(watchdog.announced or watchdog.failure or watchdog.done), None)
        except Stopped:
            raise TunnelFailed("the tunnel was stopped while it was starting; start it again") from None
        except BaseException:
            self.stop()
            raise
        url = watchdog.url
        if url is None:
            raise watchdog.failure or TunnelFailed("the tunnel ended while it was starting; start it again")
        return url

    def start_in_background(self) -> None:
        """Bring the tunnel up without waiting for it, trying again with growing pauses; never raises.

        ``on_url`` tells when it is up, ``on_problem`` why it is not.
        """
        self._launch(patient=True)

    def stop(self) -> None:
        """End cloudflared and every thread of the tunnel. May be called at any time, anywhere, repeatedly."""
        with self._lock:
            self._wakeup.stop()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _launch(self, patient: bool) -> tuple[Watchdog, Wakeup]:
        with self._launching:
            if self._watchdog and not self._watchdog.done and not self._wakeup.stopping:
                return self._watchdog, self._wakeup
            self.stop()
            wakeup = Wakeup()
            connector = Connector(
                self._local_url,
                self._binary,
                self._url_pattern,
                self._probe,
                self._timing,
                wakeup,
                self._suspect,
            )
            watchdog = Watchdog(connector, wakeup, self._timing, self._on_url, self._on_problem, patient)
            with self._lock:
                self._wakeup, self._watchdog = wakeup, watchdog
                self._thread = threading.Thread(target=watchdog.run, name="tunnel", daemon=True)
                self._thread.start()
            return watchdog, wakeup

    def _suspect(self, reason: TunnelFailed) -> None:
        if self._watchdog:
            self._watchdog.suspect(reason)
