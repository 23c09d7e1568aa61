"""A client of Petals' inference sessions, and scripts that answer it."""

from __future__ import annotations

import json
from typing import Any

import websocket

from api_host.generation import Accepted, Chunk, Finished, Timings, Usage
from tests.fakes.pipeline import Step

PATH = "/api/v2/generate"
OPEN = {"type": "open_inference_session", "model": "demo", "max_length": 400}
CHAT = "<|user|>\nWhat is the capital of France?\n<|assistant|>\n"
ENDLESS: list[Step] = [Accepted("demo", 1)]
ENDLESS += [step for _ in range(10_000) for step in (Chunk("x", n_tokens=1), 0.01)]


class Chat:
    """A client's side of one session."""

    def __init__(self, url: str, token: str, **opening: Any) -> None:
        address = url.replace("http", "ws", 1) + PATH
        self.line = websocket.create_connection(
            address, timeout=10, header=[f"Authorization: Bearer {token}"]
        )
        self.opened = self.ask({**OPEN, **opening})[0]

    def say(self, frame: Any) -> None:
        self.line.send(frame if isinstance(frame, str) else json.dumps(frame))

    def hear(self) -> list[Any]:
        """Frames up to one that is the last of its step."""
        frames = [json.loads(self.line.recv())]
        while frames[-1]["ok"] and frames[-1].get("stop") is False:
            frames.append(json.loads(self.line.recv()))
        return frames

    def ask(self, frame: Any) -> list[Any]:
        self.say(frame)
        return self.hear()

    def step(self, inputs: str | None = None, **fields: Any) -> list[Any]:
        return self.ask({"type": "generate", "inputs": inputs, **fields})

    def has_ended(self) -> bool:
        """Whether the host says farewell, and nothing else."""
        opcode, payload = self.line.recv_data()
        return opcode == websocket.ABNF.OPCODE_CLOSE and payload == b"\x03\xe8"


def text_of(frames: list[Any]) -> str:
    return "".join(frame["outputs"] for frame in frames)


def script(*texts: str, reason: str = "stop", tokens: list[int] | None = None) -> list[Step]:
    """An answer whose chunks have a token each; a text with a number before a bar has that many."""
    chunks = [Chunk(text.partition("|")[2], n_tokens=int(text.partition("|")[0])) for text in texts]
    chunks[-1].finish_reason = reason  # type: ignore[assignment]
    n_new = sum(chunk.n_tokens for chunk in chunks)
    return [Accepted("demo", 5), *chunks, Finished(Usage(5, n_new), Timings(), tokens or [1] * (5 + n_new))]


def value(text: str, name: str) -> float:
    return float(next(line for line in text.splitlines() if line.startswith(name)).split()[-1])
