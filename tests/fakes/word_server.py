"""Stands for llama-server: says the letters of the alphabet, each in turn, and finds the next but one nearly as likely.

    python tests/fakes/word_server.py PORT

Answers ``/health`` and ``POST /completion``, streamed or with the probabilities of one token. Serves until it is ended.
"""

from __future__ import annotations

import json
import string
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from bench.servers import LlamaServer, Setting

LETTERS = string.ascii_lowercase


def after(word: str, by: int = 1) -> str:
    """The letter that comes ``by`` places behind the last one of a text; behind z comes a."""
    return LETTERS[(LETTERS.index(word) + by) % len(LETTERS)]


class WordServer(LlamaServer):
    """Is started and asked as llama-server is."""

    def command(self, setting: Setting, port: int) -> list[str]:
        return [sys.executable, str(Path(__file__)), str(port)]


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self._send("application/json", b"{}")

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        words = body["prompt"].split()
        if "n_probs" in body:
            best = [{"token": f" {after(words[-1], by)}", "logprob": -by / 10} for by in (1, 2)]
            answer = {"completion_probabilities": [{"top_logprobs": best}]}
            self._send("application/json", json.dumps(answer).encode())
            return
        events = []
        for i in range(body["n_predict"]):
            events.append({"content": f" {after(words[-1], i + 1)}"})
        counts = {"tokens_evaluated": len(words) + 1, "tokens_predicted": body["n_predict"]}
        events.append({"content": "", "stop": True, **counts})
        self._send("text/event-stream", b"".join(b"data: %b\n\n" % json.dumps(e).encode() for e in events))

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is said."""

    def _send(self, kind: str, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
