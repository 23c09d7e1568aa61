"""The fields that several of OpenAI's bodies share: sampling, stop strings, forms of an answer, the stream's options.

Knows no route. Ranges are those of ``SamplingParams``; a field that is null counts as left out, as OpenAI has it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, make_dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

from annotated_types import Ge, Le
from pydantic import BeforeValidator, WithJsonSchema

from api_host.generation import N_SEEDS, SamplingParams, fresh_seed
from api_host.web.naming import LoadFields, NamedModel, naming_problems


def _as_list(stop: Any) -> Any:
    return [stop] if isinstance(stop, str) else stop


if TYPE_CHECKING:
    Stop = list[str]
    MaxTokens = int
    Likeliest = int

    class SamplingFields:
        """Every field of SamplingParams, or null."""

        max_tokens: int | None

else:
    _KINDS = get_type_hints(SamplingParams, include_extras=True)
    _STOP, MaxTokens, Likeliest = (_KINDS[name] for name in ("stop", "max_tokens", "logprobs"))
    Stop = Annotated[
        _STOP,
        BeforeValidator(_as_list),
        WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
    ]
    SamplingFields = make_dataclass(
        "SamplingFields", [(field.name, _KINDS[field.name] | None, None) for field in fields(SamplingParams)]
    )

MEDIA = ("application/json", "text/event-stream")

# What OpenAI's reference gives for fields that are left out; the context bounds a text that nothing else does.
DEFAULTS = SamplingParams(max_tokens=1_000_000, top_k=0, top_p=1.0)


@dataclass
class JsonSchemaForm:
    """``response_format.json_schema``; its ``name`` and ``strict`` change nothing, a text is always held to it."""

    __pydantic_config__ = {"extra": "ignore"}

    schema: dict[str, Any] | None = None


@dataclass
class ResponseFormat:
    """The form to which an answer is held."""

    __pydantic_config__ = {"extra": "ignore"}

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchemaForm | None = None

    @property
    def schema(self) -> dict[str, Any] | None:
        """The JSON schema of the answer; None for free text."""
        if self.type == "text":
            return None
        named = self.json_schema.schema if self.json_schema is not None else None
        return named if named is not None else {"type": "object"}


@dataclass
class StreamOptions:
    __pydantic_config__ = {"extra": "ignore"}

    include_usage: bool | None = None


@dataclass
class GeneratingBody(NamedModel, SamplingFields):
    """The fields that chat and completions share. Unknown ones (``user``, ``store``, ...) are ignored."""

    __pydantic_config__ = {"extra": "ignore"}

    stop: Stop | None = None
    seed: Annotated[int, Ge(-(2**63)), Le(2**63 - 1)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    response_format: ResponseFormat | None = None
    options: LoadFields | None = None

    @property
    def include_usage(self) -> bool:
        return self.stream_options is not None and self.stream_options.include_usage is True

    def sampling(self, **changed: Any) -> SamplingParams:
        """The sampling parameters, what is left out at OpenAI's defaults.

        Args:
            changed: parameters that the body spells otherwise; None leaves a default in its place.
        """
        # OpenAI's seeds have 64 bits, those of llama.cpp have 32.
        seed = fresh_seed() if self.seed == -1 else self.seed
        schema = self.response_format.schema if self.response_format is not None else None
        given = {field.name: getattr(self, field.name) for field in fields(SamplingParams)}
        if schema is not None:
            given["json_schema"] = schema
        given |= {"seed": None if seed is None else seed % N_SEEDS, **changed}
        return replace(DEFAULTS, **{name: value for name, value in given.items() if value is not None})


def form_problems(body: dict[str, Any]) -> list[str]:
    """What is wrong between the fields that name the model and those that hold the answer to a form."""
    problems = naming_problems(body)
    form = body.get("response_format")
    form = form if isinstance(form, dict) else {}
    if form.get("type") == "json_schema":
        described = form.get("json_schema")
        if described is None or (isinstance(described, dict) and described.get("schema") is None):
            problems.append("response_format.json_schema.schema: is missing; allowed: a JSON schema")
    held = forms(body)
    if len(held) > 1:
        problems.append(f"{held[-1]}: the answer is held to {held[0]} already; allowed: one of the two")
    return problems


def names_of(body: GeneratingBody, inputs: str) -> dict[str, str]:
    """How a client calls the fields of its request: the prompt, and what the answer is held to."""
    names = {"inputs": inputs}
    if body.response_format is not None and body.response_format.schema is not None:
        names["parameters.json_schema"] = "response_format"
    return names


def forms(body: dict[str, Any]) -> list[str]:
    """The fields of a body that hold the answer to a form."""
    form = body.get("response_format")
    held = [name for name in ("grammar", "json_schema") if body.get(name) is not None]
    if isinstance(form, dict) and form.get("type") in ("json_object", "json_schema"):
        held.append("response_format")
    return held
