"""The body of ``POST /predict``: a chat, and the arguments of transformers' ``generate()`` that mean something here.

Knows what each argument is called in the engine, nothing of answers. Names, meanings and ranges are those of
``transformers.GenerationConfig``; the defaults of the fields down to ``stream`` are those of the StableLM Zephyr Truss.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, cast

from annotated_types import Ge, Gt, Le, MaxLen, MinLen
from pydantic import WithJsonSchema

from api_host.generation import GenerationRequest, SamplingParams
from api_host.web.chat import Turn, chat_problems, messages
from api_host.web.dialects.truss.no_equivalent import NoEquivalent, allow_only_neutral, neutral_problems
from api_host.web.naming import naming_problems
from api_host.web.validation import Shape, shown

MAX_STOPS = 64
MAX_STOP_CHARACTERS = 1000
_LAST = -1

TokenId = Annotated[int, Ge(0), Le(2**31 - 1)]
Length = Annotated[int, Ge(1), Le(10_000_000)]
StopStrings = Annotated[
    Any,
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "minLength": 1, "maxLength": MAX_STOP_CHARACTERS},
                {
                    "type": "array",
                    "items": {"type": "string", "minLength": 1, "maxLength": MAX_STOP_CHARACTERS},
                    "maxItems": MAX_STOPS,
                },
                {"type": "null"},
            ]
        }
    ),
]


@dataclass
class Body(NoEquivalent):
    """The fields of a request.

    ``max_new_tokens`` counts the tokens of the conversation too, as this Truss does; ``max_length`` is the same by
    transformers' own name. ``stop_strings`` stay at the end of the text that they end, as with transformers.
    """

    __pydantic_config__ = {"extra": "forbid", "json_schema_extra": cast(Any, allow_only_neutral)}

    messages: list[Turn] = field(kw_only=True)
    max_new_tokens: Length = 4096
    temperature: Annotated[float, Ge(0), Le(10)] = 1.0
    top_p: Annotated[float, Ge(0), Le(1)] = 0.95
    top_k: Annotated[int, Ge(0), Le(1_000_000)] = 40
    repetition_penalty: Annotated[float, Gt(0), Le(10)] = 1.0
    no_repeat_ngram_size: Annotated[int, Ge(0), Le(1000)] = 0
    stream: bool = True
    do_sample: bool = True
    max_length: Length | None = None
    min_length: Annotated[int, Ge(0), Le(1_000_000)] = 0
    min_new_tokens: Annotated[int, Ge(0), Le(1_000_000)] | None = None
    min_p: Annotated[float, Ge(0), Le(1)] | None = None
    typical_p: Annotated[float, Gt(0), Le(1)] = 1.0
    seed: Annotated[int, Ge(0), Le(2**32 - 2)] | None = None
    stop_strings: StopStrings = None
    num_return_sequences: Annotated[int, Ge(1), Le(64)] = 1
    bad_words_ids: Annotated[list[Annotated[list[TokenId], MinLen(1), MaxLen(64)]], MaxLen(1024)] | None = (
        None
    )
    suppress_tokens: Annotated[list[TokenId], MaxLen(1024)] | None = None

    def request(self) -> GenerationRequest:
        """The request that this body describes; without ``min_length``, which needs the prompt's tokens."""
        stop = [self.stop_strings] if isinstance(self.stop_strings, str) else self.stop_strings
        length = self.max_new_tokens if self.max_length is None else self.max_length
        sampling = SamplingParams(
            max_tokens=length,
            max_length=length,
            min_tokens=self.min_new_tokens or 0,
            temperature=self.temperature if self.do_sample else 0.0,
            top_k=self.top_k,
            top_p=self.top_p,
            min_p=self.min_p or 0.0,
            typical_p=self.typical_p,
            repeat_penalty=self.repetition_penalty,
            repeat_last_n=_LAST,
            seed=self.seed,
            no_repeat_ngram_size=self.no_repeat_ngram_size,
            bad_words=[*(self.bad_words_ids or []), *([token] for token in self.suppress_tokens or [])],
            stop=stop or [],
            include_stop=True,
            n=self.num_return_sequences,
        )
        return GenerationRequest(
            messages(self.messages), self.reference, sampling, want_prompt=not self.stream
        )


def body_problems(body: dict[str, Any]) -> list[str]:
    """What is wrong between the fields of a parsed body, and with those that have several shapes."""
    problems = naming_problems(body) + neutral_problems(body) + _stop_problems(body.get("stop_strings"))
    if isinstance(body.get("messages"), list):
        problems += chat_problems(body["messages"], "messages")
    longest, length = body.get("max_new_tokens"), body.get("max_length")
    if None not in (longest, length) and longest != length:
        problems.append(
            f"max_length: {shown(length)} differs from max_new_tokens, and both bound conversation and answer "
            "together here; allowed: one of the two"
        )
    n = body.get("num_return_sequences")
    if body.get("stream", True) is True and isinstance(n, int) and n > 1:
        problems.append(
            f"num_return_sequences: {n} texts cannot be told apart in a stream of plain text; "
            'allowed: 1, or "stream": false'
        )
    return problems


def _stop_problems(stop: Any) -> list[str]:
    allowed = f"text, or a list of at most {MAX_STOPS} texts, each of 1 to {MAX_STOP_CHARACTERS} characters"
    texts = [] if stop is None else stop if isinstance(stop, list) else [stop]
    if len(texts) > MAX_STOPS:
        return [f"stop_strings: {len(texts)} texts are too many; allowed: {allowed}"]
    return [
        f"stop_strings: {shown(text)} cannot end a text; allowed: {allowed}"
        for text in texts
        if not isinstance(text, str) or not 1 <= len(text) <= MAX_STOP_CHARACTERS
    ]


SHAPE = Shape(Body, body_problems)

NAMES = {
    "inputs": "messages",
    "parameters.max_length": "max_new_tokens",
    "parameters.bad_words": "bad_words_ids or suppress_tokens",
    "parameters.repeat_penalty": "repetition_penalty",
    "parameters.stop": "stop_strings",
    "parameters.": "",
    "options.ctx_length": "context",
    "options.": "",
}
"""The fields of the engine's errors in this dialect's words."""
