"""The WSGI server in threads of its own: cheroot, with bounds on everything and a stop that leaves nothing.

Knows WSGI, sockets and threads, no route. Beside the request it puts two things into the WSGI environment: the client's
socket, and the watch that tells when that client has gone.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from cheroot import wsgi
from cheroot.workers import threadpool

from api_host.errors import ApiHostError
from api_host.web import connection
from api_host.web.connection import Connection, refusal
from api_host.web.disconnect import DisconnectWatch
from api_host.web.streaming import SOCKET_KEY, WATCH_KEY
from api_host.web.turned_away import TurnedAway

log = logging.getLogger(__name__)

THREADS = 128
QUEUE = 128
KEEP_ALIVE_CONNECTIONS = 256
# Longer than a tunnel keeps its connections: whoever closes first must not be the one that may be sent a request.
IDLE_S = 120
PORTS_TRIED = 50
BACKLOG = 512
MAX_HEAD_BYTES = 64 * 1024
_NOT_PREFIXED = ("CONTENT_TYPE", "CONTENT_LENGTH")

_BUSY = refusal("503 Service Unavailable", "the host is at its limit of connections; try again soon", 1)


class PortsTaken(ApiHostError):
    code = "ports_taken"


class Server:
    """Serves one WSGI application over HTTP/1.1.

    Args:
        app: the WSGI application.
        address: where to listen, such as 127.0.0.1.
        port: the port to start from; a taken one moves on, up to 50 further; 0 is any free one.
        threads: how many requests are answered at once.
        queue_limit: how many connections with a request may wait for a thread; one more gets a 503 at once.
    """

    def __init__(
        self,
        app: Callable[..., Any],
        address: str,
        port: int,
        *,
        threads: int = THREADS,
        queue_limit: int = QUEUE,
    ) -> None:
        self._watch = DisconnectWatch()
        self._http = _Http(app, address, port, threads, queue_limit, self._watch)
        self._thread = threading.Thread(target=self._serve, name="api-host-http", daemon=True)
        self._listening = threading.Event()
        self._failure: Exception | None = None

    def start(self) -> int:
        """Listens and serves, in threads.

        Returns:
            The port that was bound.

        Raises:
            PortsTaken: none of the ports is free.
            OSError: the address is not one of this machine's.
        """
        self._thread.start()
        self._listening.wait()
        if self._failure is not None:
            self._thread.join()
            raise self._failure
        self._watch.start()
        return int(self._http.bind_addr[1])

    def stop(self, timeout: float = 5.0) -> None:
        """Frees the port, cuts live connections and ends the threads; may be called again.

        Args:
            timeout: seconds to wait for requests to end after their clients were cut; what has not ended by then
                is logged and left behind.
        """
        if not self._listening.is_set() or self._failure is not None or not self._http.ready:
            return
        self._http.shutdown_timeout = timeout
        listener = self._http.socket.dup()
        stopping = threading.Thread(target=self._http.stop, name="api-host-http-stop", daemon=True)
        stopping.start()
        while self._thread.is_alive():
            # The accepting loop looks at its flag when something arrives, or after half a second.
            with contextlib.suppress(OSError):
                socket.create_connection(self._http.local_address, timeout=0.1).close()
            self._thread.join(0.02)
        stopping.join()
        # Closed it is by now, but a child that this process has forked would keep it, and with it the port.
        with listener, contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        self._watch.stop()

    def _serve(self) -> None:
        # Here, so that cheroot's threads inherit that they do not keep the interpreter alive.
        try:
            self._http.prepare()
        except Exception as failure:  # noqa: BLE001 - raised by start()
            self._failure = failure
            return
        finally:
            self._listening.set()
        self._http.serve()


class _Http(wsgi.Server):
    """cheroot's server with this host's bounds."""

    ConnectionClass = Connection
    keep_alive_conn_limit = KEEP_ALIVE_CONNECTIONS
    max_request_header_size = MAX_HEAD_BYTES
    # Bodies are bounded by the application, which refuses one in the words of the dialect that it was meant for.
    max_request_body_size = 0

    def __init__(
        self,
        app: Callable[..., Any],
        address: str,
        port: int,
        threads: int,
        queue_limit: int,
        watch: DisconnectWatch,
    ) -> None:
        super().__init__(
            (address, port),
            app,
            numthreads=threads,
            max=threads,
            server_name="api-host",
            request_queue_size=BACKLOG,
            timeout=IDLE_S,
        )
        self.gateway = _Gateway
        self.requests = _Pool(self, min=threads, max=threads)
        self.watch = watch
        self.local_address = (address, port)
        self._queue_limit = queue_limit
        self._turned_away = TurnedAway()
        self._live: set[Connection] = set()
        self._live_lock = threading.Lock()

    def bind(self, family: int, kind: int, proto: int = 0) -> socket.socket:
        address, first = self.bind_addr[:2]
        for port in range(first, min(first + PORTS_TRIED, 65535) + 1) if first else (0,):
            self.bind_addr = (address, port)
            try:
                listener: socket.socket = super().bind(family, kind, proto)
                listener.listen(self.request_queue_size)
            except OSError as failure:
                if failure.errno != errno.EADDRINUSE:
                    raise
                continue
            self.local_address = listener.getsockname()[:2]
            return listener
        raise PortsTaken(f"the ports {first} to {port} are all taken; free one, or choose another with port=")

    def prepare(self) -> None:
        super().prepare()
        self._turned_away.start()

    def process_conn(self, conn: Connection) -> None:
        """Queues a connection whose request has begun; called for every new one, and for each with bytes to read."""
        if conn.last_used is None and self.can_add_keepalive_connection:
            # A thread is worth it only once the client has said something.
            self.put_conn(conn)
            conn.last_used = time.time() - IDLE_S + connection.HEAD_S
        elif conn.last_used is None or self._is_full():
            self._turned_away.put(conn, _BUSY)
        else:
            super().process_conn(conn)

    def _is_full(self) -> bool:
        waiting = self.requests.qsize
        # What an idle thread is about to take does not wait.
        return bool(waiting >= self._queue_limit and waiting - self.requests.idle >= self._queue_limit)

    @property
    def spare_threads(self) -> int:
        """How many threads have no connection."""
        return int(self.requests.max) - len(self._live)

    @contextlib.contextmanager
    def live(self, conn: Connection) -> Iterator[None]:
        """Marks a connection as one that a stop has to cut."""
        with self._live_lock:
            self._live.add(conn)
            if not self.ready:
                conn.cut()
        try:
            yield
        finally:
            with self._live_lock:
                self._live.discard(conn)

    def cut_live(self) -> None:
        with self._live_lock:
            for conn in self._live:
                conn.cut()

    def stop(self) -> None:
        super().stop()
        self._turned_away.stop()

    def error_log(self, msg: str = "", level: int = logging.INFO, traceback: bool = False) -> None:
        log.log(level, "%s", msg, exc_info=traceback)


class _Pool(threadpool.ThreadPool):
    """A pool whose stop is bounded."""

    def stop(self, timeout: float = 5.0) -> None:
        self.server.cut_live()
        ending = threading.Thread(
            target=super().stop, args=(timeout,), name="api-host-pool-stop", daemon=True
        )
        ending.start()
        ending.join(timeout)
        if ending.is_alive():
            log.warning("some requests did not end within %s s and were left behind", timeout)


class _Gateway(wsgi.Gateway_10):
    """Calls the application with the client's socket at hand.

    What PEP 3333 asks for is made as cheroot makes it, in fewer calls.
    """

    def get_environ(self) -> Any:
        request, server = self.req, self.req.server
        environ = {
            "REQUEST_METHOD": request.method.decode("latin-1"),
            "SCRIPT_NAME": "",
            "PATH_INFO": request.path.decode("latin-1"),
            "QUERY_STRING": request.qs.decode("latin-1"),
            "REQUEST_URI": request.uri.decode("latin-1"),
            "SERVER_NAME": server.server_name,
            "SERVER_PORT": str(server.bind_addr[1]),
            "SERVER_PROTOCOL": request.request_protocol.decode("latin-1"),
            "REMOTE_ADDR": request.conn.remote_addr or "",
            "wsgi.version": self.version,
            "wsgi.url_scheme": request.scheme.decode("latin-1"),
            "wsgi.input": request.rfile,
            "wsgi.input_terminated": bool(request.chunked_read),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
            SOCKET_KEY: request.conn.socket,
            WATCH_KEY: server.watch,
        }
        for name, value in request.inheaders.items():
            key = name.decode("latin-1").upper().replace("-", "_")
            environ[key if key in _NOT_PREFIXED else f"HTTP_{key}"] = value.decode("latin-1")
        return environ

    def start_response(self, status: str, headers: Any, exc_info: Any = None) -> Any:
        if self.started_response or exc_info:
            return super().start_response(status, headers, exc_info)
        self.started_response = True
        self.req.status = status.encode("latin-1")
        for name, value in headers:
            if name.lower() == "content-length":
                self.remaining_bytes_out = int(value)
            self.req.outheaders.append((name.encode("latin-1"), value.encode("latin-1")))
        if status.startswith("101"):
            # The view has had the socket to itself, and is done with it: no head, and no further request.
            self.req.conn.socket.settimeout(None)
            self.req.sent_headers = True
            self.req.close_connection = True
        return self.write
