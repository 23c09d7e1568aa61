"""The bodies of Ollama's requests, and what may be wrong with them.

Knows fields and sentences; what is done with them is the routes'. Unknown fields are ignored, as Ollama does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le
from pydantic import WithJsonSchema

from api_host.web.dialects.ollama.options import Options
from api_host.web.naming import NamedModel, naming_problems
from api_host.web.validation import Shape, shown

EFFORTS = ("low", "medium", "high")
LATEST = ":latest"
MAX_TEXTS = 2048
_DURATION = re.compile(r"[+-]?\d[\d.hmsnuµ]*")

Token = Annotated[int, Ge(0), Le(2**31 - 1)]
Form = Annotated[Any, WithJsonSchema({"anyOf": [{"enum": ["", "json"]}, {"type": ["object", "null"]}]})]
Think = Annotated[Any, WithJsonSchema({"enum": [True, False, None, *EFFORTS]})]
Duration = Annotated[Any, WithJsonSchema({"type": ["number", "string", "null"]})]
Texts = Annotated[
    Any,
    WithJsonSchema({"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": ["string", "null"]}]}),
]


@dataclass
class ModelBody(NamedModel):
    """A model; ``name`` is an older spelling of ``model``."""

    __pydantic_config__ = {"extra": "ignore"}

    name: str | None = None

    @property
    def reference(self) -> str | None:
        """The model as this host spells it: without the tag ``latest``, which it does not have."""
        reference = super().reference or self.name
        return reference.removesuffix(LATEST) if reference is not None else None


@dataclass
class PullBody(ModelBody):
    stream: bool | None = None

    @property
    def streams(self) -> bool:
        return self.stream is not False


@dataclass
class LoadingBody(ModelBody):
    """A model that a request needs in memory: ``keep_alive`` 0 takes it out again afterwards."""

    options: Options | None = None
    keep_alive: Duration = None

    @property
    def set_options(self) -> Options:
        return self.options or Options()

    @property
    def unloads(self) -> bool:
        """Whether the model is to be unloaded as soon as the request has ended."""
        return self.keep_alive is not None and not re.search("[1-9]", str(self.keep_alive))


@dataclass
class AskingBody(LoadingBody):
    """What the two routes that make text have in common."""

    stream: bool | None = None
    format: Form = None
    think: Think = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Ge(0), Le(20)] | None = None

    @property
    def streams(self) -> bool:
        return self.stream is not False

    @property
    def n_logprobs(self) -> int | None:
        return self.top_logprobs or 0 if self.logprobs else None

    @property
    def template_values(self) -> dict[str, Any]:
        """``think`` as the variables by which templates know it."""
        if self.think is None:
            return {}
        effort = {"reasoning_effort": self.think} if self.think in EFFORTS else {}
        return {"enable_thinking": self.think is not False, **effort}


@dataclass
class GenerateBody(AskingBody):
    """``context`` are the tokens with which an earlier answer ended; no ``prompt`` only loads the model."""

    prompt: str | None = None
    suffix: str | None = None
    system: str | None = None
    template: str | None = None
    raw: bool | None = None
    context: list[Token] | None = None
    images: list[Any] | None = None


@dataclass
class Function:
    __pydantic_config__ = {"extra": "ignore"}

    name: str
    arguments: dict[str, Any] | None = None


@dataclass
class Call:
    __pydantic_config__ = {"extra": "ignore"}

    function: Function
    id: str | None = None


@dataclass
class Turn:
    """One message; ``thinking`` of earlier answers is not repeated to the model."""

    __pydantic_config__ = {"extra": "ignore"}

    role: Literal["system", "user", "assistant", "tool"]
    content: str | None = None
    images: list[Any] | None = None
    tool_calls: list[Call] | None = None
    tool_name: str | None = None
    tool_call_id: str | None = None


@dataclass
class ChatBody(AskingBody):
    """No ``messages`` only load the model."""

    messages: list[Turn] | None = None
    tools: list[dict[str, Any]] | None = None


@dataclass
class EmbedBody(LoadingBody):
    """``input`` is a text or a list of texts; ``dimensions`` cuts each vector to its first ones."""

    input: Texts = None
    truncate: bool | None = None
    dimensions: Annotated[int, Ge(1), Le(1_000_000)] | None = None

    @property
    def texts(self) -> list[str]:
        texts = [self.input] if isinstance(self.input, str) else self.input or []
        return [] if texts == [""] else texts


@dataclass
class EmbeddingsBody(LoadingBody):
    prompt: str | None = None


def model_problems(body: dict[str, Any]) -> list[str]:
    """What is wrong with the fields that every body has."""
    keep_alive = body.get("keep_alive")
    problems = naming_problems(body)
    number = isinstance(keep_alive, (int, float)) and not isinstance(keep_alive, bool)
    text = isinstance(keep_alive, str) and _DURATION.fullmatch(keep_alive)
    if keep_alive is not None and not number and not text:
        problems.append(
            f"keep_alive: {shown(keep_alive)} is no duration; allowed: seconds, or text such as 5m or 24h"
        )
    return problems


def asking_problems(body: dict[str, Any]) -> list[str]:
    """What is wrong with ``format`` and ``think`` beside."""
    form, think = body.get("format"), body.get("think")
    problems = model_problems(body)
    if form not in (None, "", "json") and not isinstance(form, dict):
        problems.append(f'format: {shown(form)} is not known; allowed: "json", or a JSON schema')
    if think is not None and not isinstance(think, bool) and think not in EFFORTS:
        problems.append(f"think: {shown(think)} is not known; allowed: true, false, {', '.join(EFFORTS)}")
    return problems


def generate_problems(body: dict[str, Any]) -> list[str]:
    problems = asking_problems(body) + _image_problems(body, "images")
    if body.get("template"):
        problems.append("template: is not accepted here; leave it out, or send a whole prompt with raw")
    return problems


def chat_problems(body: dict[str, Any]) -> list[str]:
    problems = asking_problems(body)
    for i, turn in enumerate(_list(body.get("messages"))):
        problems += _image_problems(turn, f"messages.{i}.images") if isinstance(turn, dict) else []
    for i, tool in enumerate(_list(body.get("tools"))):
        function = tool.get("function") if isinstance(tool, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            problems.append(f"tools.{i}.function.name: is missing; allowed: the name of a function")
    return problems


def embed_problems(body: dict[str, Any]) -> list[str]:
    texts = body.get("input")
    problems = model_problems(body)
    if isinstance(texts, list) and len(texts) > MAX_TEXTS:
        problems.append(f"input: {len(texts)} texts; allowed: at most {MAX_TEXTS} in a request")
    elif isinstance(texts, list):
        problems += [
            f"input.{i}: {shown(text)} is no text to embed; allowed: a text that is not empty"
            for i, text in enumerate(texts)
            if not isinstance(text, str) or (not text and len(texts) > 1)
        ]
    elif texts is not None and not isinstance(texts, str):
        problems.append(
            f"input: {shown(texts)} is neither text nor a list; allowed: a text, or a list of them"
        )
    return problems


def _image_problems(part: dict[str, Any], name: str) -> list[str]:
    return [f"{name}: this host reads no images; leave them out"] if part.get("images") else []


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


GENERATE = Shape(GenerateBody, generate_problems)
CHAT = Shape(ChatBody, chat_problems)
EMBED = Shape(EmbedBody, embed_problems)
EMBEDDINGS = Shape(EmbeddingsBody, model_problems)
SHOW = Shape(ModelBody, model_problems)
PULL = Shape(PullBody, model_problems)
