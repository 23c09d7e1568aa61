"""The servers that are measured: how each is started, asked for greedy text, and understood.

Each runs one model file with the same threads, the same number of slots and the same context. Knows nothing of
workloads.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from bench.sse import Event

HOST, LLAMA_SERVER, BINDINGS = "api-host", "llama-server", "llama_cpp.server"
ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Setting:
    """How a server is run: ``ctx`` tokens for each of ``slots`` sequences, llama.cpp's threads, layers on the GPU."""

    model: Path
    slots: int
    ctx: int
    threads: int
    gpu: bool = False


@dataclass(frozen=True)
class Counts:
    """What a server says of a finished answer; None is what it does not say."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    whole: bool = False


class Server(Protocol):
    """One kind of server."""

    name: str
    path: str
    ready_path: str
    one_token: bytes
    """Stands in the plain answer to a request for one token, and in no other."""

    def command(self, setting: Setting, port: int) -> list[str]:
        """What starts it."""

    def body(self, prompt: str, n_tokens: int, stream: bool) -> bytes:
        """A request for exactly ``n_tokens`` of greedy text."""

    def text(self, event: Event) -> str:
        """The text that an event carries."""

    def counts(self, event: Event) -> Counts | None:
        """What an event tells of the whole answer, if it does."""


class ApiHostServer:
    """This host, as ``api-host serve`` starts it, without a token and a tunnel."""

    name = HOST
    path = "/api"
    ready_path = "/health"
    one_token = b'"completion_tokens":1,'

    def command(self, setting: Setting, port: int) -> list[str]:
        return [
            *(sys.executable, "-m", "api_host.cli", "serve", "--no-token", "--no-tunnel"),
            *("--models-dir", str(setting.model.parent), "--model", setting.model.name),
            *("--port", str(port), "--parallel", str(setting.slots), "--ctx-length", str(setting.ctx)),
            *("--threads", str(setting.threads), "--n-gpu-layers", "-1" if setting.gpu else "0"),
        ]

    def body(self, prompt: str, n_tokens: int, stream: bool) -> bytes:
        parameters = {"max_tokens": n_tokens, "temperature": 0, "top_k": 1, "ignore_eos": True}
        return _json({"inputs": prompt, "parameters": parameters, "stream": stream})

    def text(self, event: Event) -> str:
        return "" if event.name else str(json.loads(event.data)["text"])

    def counts(self, event: Event) -> Counts | None:
        if event.name != "done":
            return None
        usage = json.loads(event.data)["usage"]
        return Counts(usage["prompt_tokens"], usage["completion_tokens"], whole=True)


class LlamaServer:
    """llama.cpp's own server; all that is not set is its default. A greedy chain of one sampler is its fastest."""

    name = LLAMA_SERVER
    path = "/completion"
    ready_path = "/health"
    one_token = b'"tokens_predicted":1,'

    def __init__(self, folder: Path) -> None:
        self._program = folder / "llama-server"

    def command(self, setting: Setting, port: int) -> list[str]:
        return [
            *(str(self._program), "--host", "127.0.0.1", "--port", str(port), "--offline", "--no-ui"),
            *("--model", str(setting.model), "--parallel", str(setting.slots)),
            *("--ctx-size", str(setting.ctx * setting.slots), "--threads", str(setting.threads)),
            *("--n-gpu-layers", "999" if setting.gpu else "0"),
        ]

    def body(self, prompt: str, n_tokens: int, stream: bool) -> bytes:
        greedy = {"temperature": 0, "top_k": 1, "samplers": ["top_k"], "ignore_eos": True}
        return _json({"prompt": prompt, "n_predict": n_tokens, **greedy, "stream": stream})

    def text(self, event: Event) -> str:
        return str(json.loads(event.data).get("content", ""))

    def counts(self, event: Event) -> Counts | None:
        answer = json.loads(event.data)
        if not answer.get("stop"):
            return None
        return Counts(answer["tokens_evaluated"], answer["tokens_predicted"], whole=True)


class BindingsServer:
    """``python -m llama_cpp.server``: one sequence, one request after another.

    Not interrupting a request when another comes is what lets it serve several at all; not keeping the logits of the
    whole prompt is faster than its default.
    """

    name = BINDINGS
    path = "/v1/completions"
    ready_path = "/v1/models"
    one_token = b'"completion_tokens":1,'

    def __init__(self, python: Path) -> None:
        self._python = python

    def command(self, setting: Setting, port: int) -> list[str]:
        return [
            *(str(self._python), "-m", "llama_cpp.server", "--host", "127.0.0.1", "--port", str(port)),
            *("--model", str(setting.model), "--n_ctx", str(setting.ctx)),
            *("--n_threads", str(setting.threads), "--n_threads_batch", str(setting.threads)),
            *("--n_gpu_layers", "-1" if setting.gpu else "0"),
            *(
                "--interrupt_requests",
                "false",
                "--logits_all",
                "false",
                "--flash_attn",
                "true",
                "--verbose",
                "false",
            ),
        ]

    def body(self, prompt: str, n_tokens: int, stream: bool) -> bytes:
        greedy = {"temperature": 0, "top_k": 1, "repeat_penalty": 1}
        return _json({"prompt": prompt, "max_tokens": n_tokens, **greedy, "stream": stream})

    def text(self, event: Event) -> str:
        choice = self._choice(event)
        return "" if choice is None else str(choice["text"])

    def counts(self, event: Event) -> Counts | None:
        """It counts no tokens in a stream; ``length`` says that as many as asked for have been made."""
        choice = self._choice(event)
        if choice is None or choice["finish_reason"] is None:
            return None
        return Counts(whole=choice["finish_reason"] == "length")

    @staticmethod
    def _choice(event: Event) -> dict[str, Any] | None:
        return None if event.data == b"[DONE]" else json.loads(event.data)["choices"][0]


def _json(body: dict[str, Any]) -> bytes:
    return json.dumps(body).encode()
