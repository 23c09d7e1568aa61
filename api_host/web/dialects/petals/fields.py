"""The fields of a Petals request, over HTTP or in a WebSocket's frame, and what they are called in the engine.

Knows no route and no answer. Names and meanings are those of the Petals chat's API; values may be texts, as forms and
query strings have nothing else. A parameter that is left out is off. Unknown fields are ignored, as the original does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Annotated, Any

import pydantic_core
from annotated_types import Ge, Gt, Le, MaxLen, MinLen

from api_host.errors import InvalidRequest
from api_host.generation import SamplingParams
from api_host.web.naming import NamedModel, naming_problems
from api_host.web.validation import Shape, shown

MOST_NEW_TOKENS = 1_000_000
OPEN, GENERATE = "open_inference_session", "generate"
_WHOLE_TEXT = -1

NewTokens = Annotated[int, Ge(1), Le(MOST_NEW_TOKENS)]
Length = Annotated[int, Ge(1), Le(10_000_000)]
StopText = Annotated[str, MinLen(1), MaxLen(1000)]

NAMES = {
    "parameters.repeat_penalty": "repetition_penalty",
    "parameters.max_tokens": "max_new_tokens",
    "parameters.stop": "stop_sequence",
    "parameters.": "",
    "options.ctx_length": "context",
    "options.": "",
}
"""The fields of the engine's errors in this dialect's words."""


@dataclass
class Drawing:
    """How much is generated, and how its tokens are drawn.

    ``max_length`` counts the tokens before the answer too; with ``max_new_tokens`` beside it, the tighter one counts.
    """

    max_length: Length | None = field(default=None, kw_only=True)
    max_new_tokens: NewTokens | None = field(default=None, kw_only=True)
    do_sample: bool | None = field(default=None, kw_only=True)
    temperature: Annotated[float, Ge(0), Le(10)] | None = field(default=None, kw_only=True)
    top_k: Annotated[int, Ge(0), Le(1_000_000)] | None = field(default=None, kw_only=True)
    top_p: Annotated[float, Ge(0), Le(1)] | None = field(default=None, kw_only=True)
    repetition_penalty: Annotated[float, Gt(0), Le(10)] | None = field(default=None, kw_only=True)

    def sampling(self) -> SamplingParams:
        """The parameters in the engine's words; without ``do_sample`` the likeliest token is taken each time."""
        temperature = 1.0 if self.temperature is None else self.temperature
        return SamplingParams(
            max_tokens=self.max_new_tokens or MOST_NEW_TOKENS,
            max_length=self.max_length,
            temperature=temperature if self.do_sample else 0.0,
            top_k=self.top_k or 0,
            top_p=1.0 if self.top_p is None else self.top_p,
            repeat_penalty=1.0 if self.repetition_penalty is None else self.repetition_penalty,
            repeat_last_n=_WHOLE_TEXT,
        )


@dataclass
class Request(Drawing, NamedModel):
    """``POST /api/v1/generate``."""

    __pydantic_config__ = {"extra": "ignore"}

    inputs: Annotated[str, MinLen(1)] = field(kw_only=True)


@dataclass
class OpenFrame(NamedModel):
    """The first frame: the model, and the most tokens that all texts of the session may have together."""

    __pydantic_config__ = {"extra": "ignore"}

    max_length: Length = field(kw_only=True)


@dataclass
class GenerateFrame(Drawing):
    """One step of a session. Empty ``inputs`` are none: it goes on where the last step ended."""

    __pydantic_config__ = {"extra": "ignore"}

    inputs: str | None = None
    stop_sequence: StopText | None = None
    extra_stop_sequences: Annotated[list[StopText], MaxLen(63)] | None = None

    @property
    def tokens_a_frame(self) -> float:
        """How many tokens at least are told in a frame that is not the last."""
        return self.max_new_tokens or math.inf if self.stops else math.inf

    def satisfied(self, n_new: int, n_all: int) -> bool:
        """Whether a text that was cut after ``n_new`` tokens, ``n_all`` with those before, is as long as asked for."""
        if self.max_length is not None and n_all >= self.max_length:
            return True
        return not self.stops and self.max_new_tokens is not None and n_new >= self.max_new_tokens

    def missing_end(self, text: str) -> str:
        """What a text that the model ended itself, or an extra stop sequence, lacks of the end it should have had.

        The original, too, has a session go on after ``stop_sequence``, whatever ended the step.
        """
        return "" if self.stop_sequence is None or text.endswith(self.stop_sequence) else self.stop_sequence

    @property
    def stops(self) -> list[str]:
        """The strings at which the step ends; none: it ends after ``max_new_tokens``."""
        return [] if self.stop_sequence is None else [self.stop_sequence, *(self.extra_stop_sequences or [])]


def _length_problems(fields: dict[str, Any]) -> list[str]:
    if fields.get("max_length") is None and fields.get("max_new_tokens") is None:
        return [
            "max_new_tokens: is missing; give the most tokens to generate, or max_length, which counts the text"
        ]
    return []


def _request_problems(fields: dict[str, Any]) -> list[str]:
    return naming_problems(fields) + _length_problems(fields)


def _step_problems(fields: dict[str, Any]) -> list[str]:
    problems = _length_problems(fields)
    if fields.get("extra_stop_sequences") is not None and fields.get("stop_sequence") is None:
        problems.append("extra_stop_sequences: needs stop_sequence beside it; name one, or leave both out")
    return problems


REQUEST = Shape(Request, _request_problems, strict=False)
OPEN_FRAME = Shape(OpenFrame, naming_problems, strict=False)
GENERATE_FRAME = Shape(GenerateFrame, _step_problems, strict=False)


def json_object(text: str | bytes, what: str) -> dict[str, Any]:
    """The object that ``text`` is as JSON; ``what`` it is called when it is none. Raises InvalidRequest."""
    try:
        parsed = pydantic_core.from_json(text)
    except ValueError as fault:
        raise InvalidRequest(f"{what} is not valid JSON: {fault}") from fault
    if not isinstance(parsed, dict):
        raise InvalidRequest(f"{what} is {shown(parsed)}; allowed: a JSON object")
    return parsed
