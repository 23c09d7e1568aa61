"""Every route that generates, embeds or counts, each as one row: what it takes, and what is wrong with a body.

Knows nothing of errors but which dialect tells them; a new dialect is one in ``error_shapes`` and a row here for each
of its routes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.dialects.error_shapes import (
    ANTHROPIC,
    LLM_API,
    NATIVE,
    OLLAMA,
    OPENAI,
    PETALS,
    TRUSS,
    ZEPHYR,
    Dialect,
)

Body = dict[str, Any]
GONE = object()


@dataclass(frozen=True)
class Wrong:
    """A field's name in a sentence, and what makes a good body wrong there: GONE takes a field out."""

    field: str
    changes: Body

    def body(self, good: Body) -> Body:
        changed = {**good, **self.changes}
        return {name: value for name, value in changed.items() if value is not GONE}


def _without(name: str) -> Wrong:
    return Wrong(name, {name: GONE})


def _with(name: str, value: Any) -> Wrong:
    return Wrong(name, {name: value})


def _within(parent: str, name: str, value: Any) -> Wrong:
    return Wrong(f"{parent}.{name}", {parent: {name: value}})


@dataclass(frozen=True)
class Route:
    """One route: a good body, three that are wrong, and the field that the engine calls ``inputs``.

    ``streamed`` is what has the answer streamed; None: it never is.
    """

    path: str
    dialect: Dialect
    good: Body
    missing: Wrong
    wrong_type: Wrong
    out_of_range: Wrong
    inputs: str
    streamed: Body | None = None


_ASKED = [{"role": "user", "content": "Hi"}]
_STREAM = {"stream": True}
_PLAIN = {"stream": False}
_HALF_NAMED = Wrong("file_name", {"model": GONE, "repo_id": "owner/name"})

ROUTES = [
    Route(
        "/api",
        NATIVE,
        {"inputs": "Hi"},
        _without("inputs"),
        _with("stream", "yes"),
        _within("parameters", "temperature", 11),
        "inputs",
        _STREAM,
    ),
    Route(
        "/v1/chat/completions",
        OPENAI,
        {"model": "demo", "messages": _ASKED},
        _without("messages"),
        _with("max_tokens", "many"),
        _with("temperature", -1),
        "messages",
        _STREAM,
    ),
    Route(
        "/v1/completions",
        OPENAI,
        {"model": "demo", "prompt": "Hi"},
        _without("prompt"),
        _with("prompt", 5),
        _with("top_p", -1),
        "prompt",
        _STREAM,
    ),
    Route(
        "/v1/embeddings",
        OPENAI,
        {"model": "demo", "input": "Hi"},
        _without("input"),
        _with("encoding_format", 5),
        _with("dimensions", 0),
        "input",
    ),
    Route(
        "/v1/responses",
        OPENAI,
        {"model": "demo", "input": "Hi"},
        _without("input"),
        _with("instructions", 5),
        _with("max_output_tokens", 0),
        "input",
        _STREAM,
    ),
    Route(
        "/v1/messages",
        ANTHROPIC,
        {"model": "demo", "max_tokens": 8, "messages": _ASKED},
        _without("max_tokens"),
        _with("stream", "yes"),
        _with("temperature", 11),
        "messages",
        _STREAM,
    ),
    Route(
        "/v1/messages/count_tokens",
        ANTHROPIC,
        {"model": "demo", "messages": _ASKED},
        _without("messages"),
        _with("tools", 5),
        _with("messages", []),
        "messages",
    ),
    Route(
        "/api/chat",
        OLLAMA,
        {"model": "demo", "messages": _ASKED, **_PLAIN},
        Wrong("messages.0.role", {"messages": [{"content": "Hi"}]}),
        _with("stream", "yes"),
        _within("options", "temperature", -1),
        "messages",
        _STREAM,
    ),
    Route(
        "/api/generate",
        OLLAMA,
        {"model": "demo", "prompt": "Hi", **_PLAIN},
        _HALF_NAMED,
        _with("prompt", 5),
        _within("options", "num_ctx", 1),
        "prompt",
        _STREAM,
    ),
    Route(
        "/api/embed",
        OLLAMA,
        {"model": "demo", "input": "Hi"},
        _HALF_NAMED,
        _with("truncate", "yes"),
        _with("dimensions", 0),
        "input",
    ),
    Route(
        "/api/v1/generate",
        PETALS,
        {"model": "demo", "inputs": "Hi", "max_new_tokens": 8},
        _without("inputs"),
        _with("max_new_tokens", "many"),
        _with("top_p", 2),
        "inputs",
    ),
    Route(
        "/predict",
        TRUSS,
        {"messages": _ASKED, **_PLAIN},
        _without("messages"),
        _with("max_new_tokens", "many"),
        _with("repetition_penalty", 0),
        "messages",
        _STREAM,
    ),
    Route(
        "/generate",
        LLM_API,
        {"prompt": "Hi"},
        _without("prompt"),
        _with("params", 5),
        _within("params", "temp", 11),
        "prompt",
    ),
    Route(
        "/agenerate",
        LLM_API,
        {"prompt": "Hi"},
        _without("prompt"),
        _within("params", "n_predict", "many"),
        _within("params", "top_p", -1),
        "prompt",
        {},
    ),
    Route(
        "/embeddings",
        LLM_API,
        {"text": "Hi"},
        _without("text"),
        _with("text", 5),
        _with("text", ""),
        "text",
    ),
    Route(
        "/zephyr/raw",
        ZEPHYR,
        {"user_message": "Hi"},
        _without("user_message"),
        _with("max_new_tokens", "many"),
        _with("top_k", -1),
        "user_message",
    ),
    Route(
        "/zephyr/python",
        ZEPHYR,
        {"user_message": "Hi"},
        _without("user_message"),
        _with("do_sample", "yes"),
        _with("temperature", 11),
        "user_message",
    ),
    Route(
        "/zephyr/code-doc",
        ZEPHYR,
        {"code": "x = 1\n"},
        _without("code"),
        _with("include_comments", "yes"),
        _with("max_new_tokens", 0),
        "code",
    ),
]
