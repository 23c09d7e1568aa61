"""Another origin that nobody should ever speak to: a port that notes each connection, even an unused one.

A browser's early connections (``preconnect``) are no requests and show nowhere else.
"""

from __future__ import annotations

import socketserver
import threading


class Trap:
    """A listening port. ``visits`` holds the first line of what came on each connection, "" for nothing."""

    def __init__(self) -> None:
        self.visits: list[str] = []
        visits = self.visits

        class Visit(socketserver.StreamRequestHandler):
            timeout = 0.5

            def handle(self) -> None:
                try:
                    visits.append(self.rfile.readline().decode("latin-1").strip())
                    self.wfile.write(b"HTTP/1.0 404 Not Found\r\nContent-Length: 0\r\n\r\n")
                except OSError:
                    visits.append("")

        class Door(socketserver.ThreadingTCPServer):
            request_queue_size = 128

        self._server = Door(("127.0.0.1", 0), Visit)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="trap")
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
