"""The bodies of the LLM API: a prompt with its parameters in two spellings, and a text to embed.

Knows what each parameter is called in the engine, nothing of answers. The defaults of the parameters stand here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

from annotated_types import Ge, Gt, Le, MaxLen, MinLen

from api_host.generation import GenerationRequest, SamplingParams, fresh_seed
from api_host.web.naming import NamedModel, naming_problems
from api_host.web.validation import Shape, shown

DEFAULTS = {"max_tokens": 128, "temperature": 0.8, "top_k": 40, "top_p": 0.95, "repeat_penalty": 1.1}
"""By the engine's names; other parameters take the engine's defaults."""

SPELLINGS = {"n_predict": "max_tokens", "temp": "temperature"}
"""The older spelling of a parameter, and the newer one."""

Count = Annotated[int, Ge(1), Le(1_000_000)]
Temperature = Annotated[float, Ge(0), Le(10)]
Penalty = Annotated[float, Ge(-10), Le(10)]
Affix = Annotated[str, MaxLen(100_000)]


@dataclass
class Params:
    """``params`` of a request. Null is the same as leaving a parameter out; a ``seed`` of -1 is a new one.

    ``suffix`` is put after the text and, with ``echo``, the prompt before it, as llama-cpp-python does for models
    that cannot fill in. ``logprobs`` is accepted, and nothing comes of it: an answer is a text and has no room for it.
    """

    __pydantic_config__ = {"extra": "forbid"}

    n_predict: Count | None = None
    max_tokens: Count | None = None
    temp: Temperature | None = None
    temperature: Temperature | None = None
    top_k: Annotated[int, Ge(0), Le(1_000_000)] | None = None
    top_p: Annotated[float, Ge(0), Le(1)] | None = None
    stop: Annotated[list[Annotated[str, MaxLen(1000)]], MaxLen(64)] | None = None
    repeat_penalty: Annotated[float, Gt(0), Le(10)] | None = None
    repeat_last_n: Annotated[int, Ge(-1), Le(1_000_000)] | None = None
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    suffix: Affix | None = None
    echo: bool | None = None
    logprobs: Annotated[int, Ge(0), Le(20)] | None = None
    seed: Annotated[int, Ge(-1), Le(2**32 - 2)] | None = None

    def sampling(self) -> SamplingParams:
        """The parameters by the engine's names."""
        given: dict[str, Any] = {
            "max_tokens": self.max_tokens if self.n_predict is None else self.n_predict,
            "temperature": self.temperature if self.temp is None else self.temp,
            "top_k": self.top_k,
            "top_p": self.top_p,
            "stop": self.stop,
            "repeat_penalty": self.repeat_penalty,
            "repeat_last_n": self.repeat_last_n,
            "frequency_penalty": self.frequency_penalty,
            "presence_penalty": self.presence_penalty,
            "seed": fresh_seed() if self.seed == -1 else self.seed,
        }
        chosen = {name: value for name, value in given.items() if value is not None}
        return SamplingParams(**{**DEFAULTS, **chosen})


@dataclass
class GenerateBody(NamedModel):
    """The body of ``/generate`` and ``/agenerate``."""

    prompt: Annotated[str, MinLen(1)] = field(kw_only=True)
    params: Params | None = None

    def request(self) -> GenerationRequest:
        """The request that this body describes; what goes around the text is not the engine's."""
        return GenerationRequest(self.prompt, self.reference, (self.params or Params()).sampling())

    @property
    def before(self) -> str:
        """What stands in front of the text."""
        return self.prompt if self.params is not None and self.params.echo else ""

    @property
    def after(self) -> str:
        """What stands behind the text."""
        return (self.params.suffix if self.params is not None else None) or ""


@dataclass
class EmbeddingsBody(NamedModel):
    """The body of ``/embeddings``."""

    text: Annotated[str, MinLen(1)] = field(kw_only=True)


def generate_problems(body: dict[str, Any]) -> list[str]:
    """What is wrong between the fields of a parsed body."""
    problems = naming_problems(body)
    params = body.get("params")
    if not isinstance(params, dict):
        return problems
    for older, newer in SPELLINGS.items():
        values = [params.get(older), params.get(newer)]
        if None not in values and values[0] != values[1]:
            problems.append(
                f"params.{older}: {shown(values[0])} differs from params.{newer}, which is the same parameter; "
                "allowed: one of the two"
            )
    return problems


GENERATE = Shape(GenerateBody, generate_problems)
EMBEDDINGS = Shape(EmbeddingsBody, naming_problems)
