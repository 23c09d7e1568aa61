"""A model hub on the loopback that answers what ``hf_hub_download`` asks, and misbehaves on request.

Knows nothing of the code under test. In a test: ``with LoopbackHub() as hub: hub.add("owner/name", "a.gguf", data)``.
On its own: ``python -m tests.fakes.hub --add owner/name/a.gguf=PATH`` prints its URL and serves until interrupted.

The routes and headers are those of huggingface.co: ``HEAD`` and ``GET /{repo}/resolve/{revision}/{file}`` with
ranges, ``/api/models/{repo}``, ``.../revision/{revision}`` and ``.../tree/{revision}``.
"""

from __future__ import annotations

import hashlib
import json
import re
import socket
import struct
import sys
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

_PIECE = 16 * 1024
_RESOLVE = re.compile(r"/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<file>.+)")
_API = re.compile(r"/api/models/(?P<repo>[^/]+/[^/]+)(?:/(?P<what>revision|tree)/[^/]+)?")


@dataclass
class Request:
    """One request as it came in."""

    method: str
    path: str
    headers: dict[str, str]


@dataclass
class Misbehaviour:
    """What the hub does wrong, for which repository and file (None: any), and how many times yet (None: always).

    ``status`` with ``error_code`` and ``message`` refuses; ``retry_after`` is in seconds. ``stall_after`` and
    ``cut_after`` count bytes of one answer; ``reset`` ends it with a reset. ``wrong_checksum`` names another sha256.
    """

    repo: str | None = None
    file: str | None = None
    method: str | None = None
    times: int | None = None
    status: int | None = None
    error_code: str | None = None
    message: str | None = None
    retry_after: float | None = None
    stall_after: int | None = None
    cut_after: int | None = None
    reset: bool = False
    bytes_per_second: float | None = None
    wrong_checksum: bool = False

    def concerns(self, method: str, repo: str, file: str | None) -> bool:
        in_data = self.stall_after is not None or self.cut_after is not None
        wanted = self.method or ("GET" if in_data else None)
        return (
            self.times != 0
            and self.repo in (None, repo)
            and self.file in (None, file)
            and wanted in (None, method)
            and not (in_data and file is None)
        )


@dataclass
class _Repository:
    files: dict[str, bytes | Path] = field(default_factory=dict)
    token: str | None = None
    commit: str = ""


class LoopbackHub:
    """The hub; a context manager that serves while it is open, on a port of its own."""

    def __init__(self) -> None:
        self.log: list[Request] = []
        self.closing = threading.Event()
        self.repositories: dict[str, _Repository] = {}
        self._misbehaviours: list[Misbehaviour] = []
        self._lock = threading.Lock()
        hub = self

        class Answers(_Answers):
            def setup(self) -> None:
                self.hub = hub
                super().setup()

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        self._server.daemon_threads = False  # so that closing waits for them
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="loopback-hub")

    def __enter__(self) -> LoopbackHub:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def requests(self) -> list[tuple[str, str]]:
        """Method and path of each request so far."""
        return [(request.method, request.path) for request in list(self.log)]

    @property
    def ranges(self) -> list[str]:
        """The Range headers of all GETs that had one."""
        return [request.headers["range"] for request in list(self.log) if "range" in request.headers]

    def add(self, repo: str, file: str, data: bytes | Path | str, token: str | None = None) -> None:
        """Publishes a file; a ``token`` makes its repository private to it. A new file is a new commit."""
        repository = self.repositories.setdefault(repo, _Repository())
        repository.files[file] = data if isinstance(data, bytes) else Path(data)
        repository.token = token or repository.token
        checksum = hashlib.sha256(self.content(repo, file)).hexdigest()
        repository.commit = hashlib.sha1(f"{repository.commit} {file} {checksum}".encode()).hexdigest()

    def misbehave(self, repo: str | None = None, file: str | None = None, **how: Any) -> Misbehaviour:
        """Adds a misbehaviour; the fields are Misbehaviour's."""
        wrong = Misbehaviour(repo, file, **how)
        with self._lock:
            self._misbehaviours.append(wrong)
        return wrong

    def behave(self) -> None:
        """Takes back all misbehaviours."""
        with self._lock:
            self._misbehaviours.clear()

    def misbehaviours(self, method: str, repo: str, file: str | None) -> list[Misbehaviour]:
        """Those that concern a request; each has then happened once more."""
        with self._lock:
            found = [wrong for wrong in self._misbehaviours if wrong.concerns(method, repo, file)]
            for wrong in found:
                wrong.times = None if wrong.times is None else wrong.times - 1
        return found

    def content(self, repo: str, file: str) -> bytes:
        content = self.repositories[repo].files[file]
        return content if isinstance(content, bytes) else content.read_bytes()


class _Answers(BaseHTTPRequestHandler):
    """Answers one request; HTTP/1.0, so that no idle connection outlives it."""

    hub: LoopbackHub

    def log_message(self, format: str, *args: Any) -> None:
        return

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        self.hub.log.append(
            Request(self.command, self.path, {name.lower(): value for name, value in self.headers.items()})
        )
        path = unquote(urlsplit(self.path).path)
        resolve, api = _RESOLVE.fullmatch(path), _API.fullmatch(path)
        match = resolve or api
        if match is None:
            return self._refuse(404, None, "Sorry, we can't find the page you are looking for.")
        repo, file = match["repo"], resolve["file"] if resolve else None
        wrong = self.hub.misbehaviours(self.command, repo, file)
        refusal = next((one for one in wrong if one.status is not None), None)
        if refusal is not None:
            return self._refuse(refusal.status, refusal.error_code, refusal.message, refusal.retry_after)
        repository = self.hub.repositories.get(repo)
        if repository is None:
            return self._refuse(401, "RepoNotFound", "Invalid username or password.")
        if repository.token is not None and self.headers.get("Authorization") != f"Bearer {repository.token}":
            return self._refuse_token()
        if resolve is None:
            return self._tell(repo, repository, api is not None and api["what"] == "tree")
        if file not in repository.files:
            return self._refuse(404, "EntryNotFound", "Entry not found")
        return self._send_file(repository, file, self.hub.content(repo, file), wrong)

    def _refuse_token(self) -> None:
        if self.headers.get("Authorization"):
            return self._refuse(401, None, "Invalid credentials in Authorization header")
        return self._refuse(401, "RepoNotFound", "Invalid username or password.")

    def _refuse(
        self, status: int | None, code: str | None, message: str | None, retry_after: float | None = None
    ) -> None:
        body = json.dumps({"error": message}).encode()
        self.send_response(status or 500)
        if code is not None:
            self.send_header("X-Error-Code", code)
        if message is not None:
            self.send_header("X-Error-Message", message)
        if retry_after is not None:
            self.send_header("Retry-After", f"{retry_after:g}")
        self._send_whole(body, "application/json")

    def _tell(self, repo: str, repository: _Repository, tree: bool) -> None:
        files = []
        for name in repository.files:
            data = self.hub.content(repo, name)
            lfs = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
            oid = hashlib.sha1(name.encode()).hexdigest()
            files.append({"type": "file", "path": name, "size": len(data), "oid": oid, "lfs": lfs})
        about = {"id": repo, "modelId": repo, "sha": repository.commit, "private": False, "tags": []}
        about["siblings"] = [{"rfilename": entry["path"]} for entry in files]
        self.send_response(200)
        self._send_whole(json.dumps(files if tree else about).encode(), "application/json")

    def _send_whole(self, body: bytes, kind: str) -> None:
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _send_file(self, repository: _Repository, file: str, data: bytes, wrong: list[Misbehaviour]) -> None:
        true_sum = hashlib.sha256(data).hexdigest()
        checksum = true_sum[::-1] if any(one.wrong_checksum for one in wrong) else true_sum
        start = self._start(len(data))
        if start is None:
            return self._refuse(416, None, "Requested range not satisfiable")
        self.send_response(206 if "Range" in self.headers else 200)
        if "Range" in self.headers:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("X-Repo-Commit", repository.commit)
        self.send_header("X-Linked-Size", str(len(data)))
        self.send_header("X-Linked-ETag", f'"{checksum}"')
        self.send_header("ETag", f'"{checksum}"')
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        if self.command == "GET":
            self._send_data(data[start:], wrong)
        return None

    def _start(self, size: int) -> int | None:
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "bytes=0-"))
        if match is None or int(match[1]) >= size:
            return None
        return int(match[1])

    def _send_data(self, data: bytes, wrong: list[Misbehaviour]) -> None:
        stall = min((one.stall_after for one in wrong if one.stall_after is not None), default=None)
        cut = min((one.cut_after for one in wrong if one.cut_after is not None), default=None)
        speed = min((one.bytes_per_second for one in wrong if one.bytes_per_second), default=None)
        end = min(len(data), *(limit for limit in (stall, cut) if limit is not None), len(data))
        began = time.monotonic()
        try:
            for at in range(0, end, _PIECE):
                if speed and self.hub.closing.wait(max(0.0, began + at / speed - time.monotonic())):
                    return
                self.wfile.write(data[at : min(at + _PIECE, end)])
            self.wfile.flush()
        except (BrokenPipeError, ConnectionResetError):
            return
        if stall is not None and end == stall and end < len(data):
            self.hub.closing.wait()
        if any(one.reset for one in wrong):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()  # here, before the server would end it in order


def main(arguments: list[str]) -> int:
    """``--add REPO/FILE=PATH`` ... : serves these files and prints the URL."""
    with LoopbackHub() as hub:
        for flag, value in zip(arguments[::2], arguments[1::2], strict=True):
            name, _, path = value.partition("=")
            parts = name.split("/", 2)
            if flag != "--add" or len(parts) != 3 or not path:
                sys.exit("usage: python -m tests.fakes.hub --add owner/name/file.gguf=PATH ...")
            hub.add("/".join(parts[:2]), parts[2], Path(path))
        print(hub.url, flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            return 0
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
