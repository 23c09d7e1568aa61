"""Carries JSON to the host and answers back, over one ``requests.Session`` for each thread of each process.

Knows paths and bodies, not what they mean. A session is never shared between them; a stream may be read in
another thread than the one that opened it.
"""

from __future__ import annotations

import json
import os
import threading
import weakref
from typing import Any

import requests

from api_host_client.access import Address, Token
from api_host_client.connection import IMPOSSIBLE_CHUNKS, connection_failed, is_timeout
from api_host_client.errors import ClientError, ConnectionFailed, NotAnAnswer
from api_host_client.reply import Reply, error_of, read_object
from api_host_client.retry import pause_before_retry
from api_host_client.version import __version__

USER_AGENT = f"api-host-client/{__version__} (python-requests/{requests.__version__})"
EVENT_STREAM = "text/event-stream"
_READ_SIZE = 64 * 1024


class Transport:
    """Sends requests to one host.

    Args:
        address: where it is.
        token: what it asks for.
        timeout: seconds to connect, and seconds without a single byte.
        retries: how often a request is sent again where that is safe (``retry`` says where).
    """

    def __init__(self, address: Address, token: Token, *, timeout: tuple[float, float], retries: int) -> None:
        self.address = address
        self.token = token
        self._timeout = timeout
        self._retries = retries
        self._closed = threading.Event()
        self._local = threading.local()
        self._sessions: weakref.WeakSet[requests.Session] = weakref.WeakSet()
        self._lock = threading.Lock()

    def get(self, path: str) -> dict[str, Any]:
        return self._whole(self._open("GET", path, None, "application/json"))

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return self._whole(self._open("POST", path, body, "application/json"))

    def stream(self, path: str, body: dict[str, Any]) -> requests.Response:
        """An open answer of server-sent events; an error that came instead is raised."""
        response = self._open("POST", path, body, EVENT_STREAM)
        if EVENT_STREAM in response.headers.get("Content-Type", ""):
            return response
        self._whole(response)
        raise NotAnAnswer("a whole answer came where a stream was asked for: is this the URL of an API Host?")

    def pause(self, seconds: float) -> None:
        """Waits; ``close`` in another thread ends it."""
        self._closed.wait(seconds)

    def close(self) -> None:
        """Ends the connections of all threads and the pauses between retries, for good."""
        self._closed.set()
        with self._lock:
            sessions = list(self._sessions)
        for session in sessions:
            session.close()

    def _open(self, method: str, path: str, body: dict[str, Any] | None, accept: str) -> requests.Response:
        """The first good answer, its body not yet read; raises what the last attempt failed with."""
        content = None if body is None else json.dumps(body, allow_nan=False).encode()
        waited = 0.0
        attempt = 0
        while True:
            if self._closed.is_set():
                raise ConnectionFailed("this client is closed: make a new one", sent=False)
            try:
                return self._attempt(method, path, content, accept)
            except ClientError as error:
                pause = (
                    pause_before_retry(error, method, attempt, waited) if attempt < self._retries else None
                )
                if pause is None:
                    raise
            self.pause(pause)
            waited += pause
            attempt += 1

    def _attempt(self, method: str, path: str, content: bytes | None, accept: str) -> requests.Response:
        headers = {"Accept": accept}
        if content is not None:
            headers["Content-Type"] = "application/json"
        if accept == EVENT_STREAM:
            headers["Accept-Encoding"] = "identity"  # a compressor on the way would hold events back
        try:
            response = self._session().request(
                method,
                self.address.join(path),
                data=content,
                headers=headers,
                timeout=self._timeout,
                stream=True,
                allow_redirects=False,
            )
        except requests.RequestException as error:
            raise connection_failed(error, self.address.host) from None
        except ValueError:
            raise NotAnAnswer("the answer redirects to no address: is this the URL of an API Host?") from None
        if 200 <= response.status_code < 300:
            return response
        raise error_of(self._read(response), self.token.scrub)

    def _whole(self, response: requests.Response) -> dict[str, Any]:
        return read_object(self._read(response), self.token.scrub)

    def _read(self, response: requests.Response) -> Reply:
        """The body, as far as it came. Silence inside it is TimedOut."""
        parts: list[bytes] = []
        complete = True
        try:
            with response:
                parts.extend(response.iter_content(_READ_SIZE))
        except requests.RequestException as error:
            if is_timeout(error):
                raise connection_failed(error, self.address.host) from None
            complete = False
        except IMPOSSIBLE_CHUNKS:
            complete = False
        return Reply(response.status_code, response.headers, b"".join(parts), complete)

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        # A forked child has its parent's connections, on which the two would take each other's answers.
        if session is None or self._local.process != os.getpid():
            session = requests.Session()
            session.headers["User-Agent"] = USER_AGENT
            session.auth = self.token
            session.trust_env = not self.address.is_loopback
            self._local.session, self._local.process = session, os.getpid()
            with self._lock:
                self._sessions.add(session)
        return session
