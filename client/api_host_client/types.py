"""What the host's JSON becomes: answers, pieces of text, models. Typed at the door, nothing raw inside.

Knows nothing of HTTP. Keys that are not known here are ignored; keys that are missing take the defaults below.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from api_host_client.errors import NotAnAnswer

_Record = TypeVar("_Record")


def record(kind: type[_Record], found: Any) -> _Record:
    """A dataclass from those keys of a JSON object that it knows; anything else than an object gives its defaults."""
    known = found if isinstance(found, dict) else {}
    names = [f.name for f in fields(kind)]  # type: ignore[arg-type]
    return kind(**{name: known[name] for name in names if known.get(name) is not None})


@dataclass(frozen=True)
class Usage:
    """Tokens of one request; ``cached_tokens`` of the prompt had their KV cells still there."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    total_tokens: int = 0


@dataclass(frozen=True)
class Timings:
    """Seconds of one request: waiting for a slot, reading the prompt, generating; and the rate of the last."""

    queued: float = 0.0
    prefill: float = 0.0
    decode: float = 0.0
    tokens_per_second: float = 0.0


@dataclass(frozen=True)
class Choice:
    """One of the ``n`` answers."""

    text: str
    index: int = 0
    role: str = "assistant"
    finish_reason: str | None = None


@dataclass(frozen=True)
class Answer:
    """What the model said; ``str(answer)`` is the text. ``choices`` holds all of them when ``n`` was above 1."""

    text: str
    role: str = "assistant"
    model: str | None = None
    usage: Usage = field(default_factory=Usage)
    timings: Timings = field(default_factory=Timings)
    finish_reason: str | None = None
    choices: list[Choice] = field(default_factory=list)

    def __str__(self) -> str:
        return self.text

    @property
    def content(self) -> str:
        return self.text

    @property
    def message(self) -> dict[str, str]:
        """The answer as a turn, to be appended to a chat history."""
        return {"role": self.role, "content": self.text}

    @classmethod
    def from_json(cls, body: dict[str, Any]) -> Answer:
        """Raises NotAnAnswer when there is no ``answer`` with a text in it."""
        turns = body.get("answers") or [body.get("answer")]
        if not isinstance(turns, list):
            turns = [None]
        reason = body.get("finish_reason")
        choices = [_choice(turn, index, reason) for index, turn in enumerate(turns)]
        first = _choice(body["answer"], 0, reason) if body.get("answer") else choices[0]
        return cls(
            text=first.text,
            role=first.role,
            model=body.get("model"),
            usage=record(Usage, body.get("usage")),
            timings=record(Timings, body.get("timings")),
            finish_reason=reason or first.finish_reason,
            choices=choices,
        )


def _choice(turn: Any, index: int, reason: str | None) -> Choice:
    if not isinstance(turn, dict) or not isinstance(turn.get("content"), str):
        raise NotAnAnswer("the host's answer has no answer.content: is this the URL of an API Host?")
    return Choice(
        turn["content"], index, turn.get("role") or "assistant", turn.get("finish_reason") or reason
    )


@dataclass(frozen=True)
class Chunk:
    """A piece of the text of choice ``index``; its last chunk carries the ``finish_reason``."""

    text: str = ""
    index: int = 0
    finish_reason: str | None = None

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Progress:
    """How far a download is, in bytes; ``bytes_total`` is 0 while it is not known."""

    file: str = ""
    bytes_done: int = 0
    bytes_total: int = 0

    @property
    def fraction(self) -> float | None:
        return min(1.0, self.bytes_done / self.bytes_total) if self.bytes_total > 0 else None


@dataclass(frozen=True)
class Waiting:
    """Why a stream has no text yet: ``status`` is queued, downloading, loading or prefill."""

    status: str = ""
    progress: Progress | None = None

    @classmethod
    def from_json(cls, body: dict[str, Any]) -> Waiting:
        return cls(str(body.get("status") or ""), _progress(body.get("progress")))


@dataclass(frozen=True)
class Model:
    """A model of the host. ``status`` is unloaded, downloading, loading, loaded or failed; ``size`` is in bytes.

    ``n_ctx`` is in tokens a slot. ``draft_model`` is the file that guesses for it, if one does. ``notes`` are the
    host's sentences about what it chose; ``error`` is what the host gave for a failed load.
    """

    name: str = ""
    status: str = "unloaded"
    progress: Progress | None = None
    size: int | None = None
    n_ctx: int | None = None
    n_slots: int | None = None
    n_gpu_layers: int | None = None
    device: str | None = None
    draft_model: str | None = None
    notes: list[str] = field(default_factory=list)
    error: Any = None

    @property
    def loaded(self) -> bool:
        return self.status == "loaded"

    @classmethod
    def from_json(cls, body: Any) -> Model:
        """Raises NotAnAnswer when there is no name."""
        name = (body.get("name") or body.get("model")) if isinstance(body, dict) else None
        if not isinstance(name, str):
            raise NotAnAnswer("the host's answer describes no model: is this the URL of an API Host?")
        return record(cls, {**body, "name": name, "progress": _progress(body.get("progress"))})


@dataclass(frozen=True)
class Health:
    """What ``GET /health`` says; ``status`` is ``ok`` on a host that serves. ``facts`` is all of it."""

    status: str = ""
    version: str = ""
    facts: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def ok(self) -> bool:
        return self.status == "ok"


def _progress(found: Any) -> Progress | None:
    return record(Progress, found) if isinstance(found, dict) and found else None
