"""``options`` of a request, and the other fields that say how text is drawn and how the model is loaded.

Knows Ollama's names and defaults (its docs: api.md, modelfile.mdx, "Valid Parameters and Values"); the ranges are
those of ``SamplingParams``. Unknown options are ignored, as Ollama does; so are those that mean nothing here, such as
``num_keep``, ``num_batch``, ``num_thread``, ``use_mmap`` or ``penalize_newline``.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Annotated, Any

from annotated_types import Ge, Gt, Le, MaxLen
from pydantic import BeforeValidator

from api_host.generation import LoadOptions, SamplingParams, fresh_seed
from api_host.web.naming import CtxLength

MAX_TOKENS = 1_000_000
# Ollama takes 4096.0 for a whole number, and a client whose numbers are floats sends it so.
Whole = BeforeValidator(
    lambda given: int(given) if isinstance(given, float) and given.is_integer() else given
)
DEFAULTS = {"temperature": 0.8, "top_k": 40, "top_p": 0.9, "repeat_penalty": 1.1}


@dataclass
class Options:
    """What a request may set; null is the default, which is Ollama's.

    ``num_predict`` below 1 goes on until the model ends its text or the context is full. ``num_ctx`` is the context
    in tokens, ``num_gpu`` 0 keeps the model off the GPU, ``seed`` -1 is a random one. ``chat_format`` is this host's
    own: a template by name, for a model that carries none.
    """

    __pydantic_config__ = {"extra": "ignore"}

    num_predict: Annotated[int, Ge(-2), Le(MAX_TOKENS), Whole] | None = None
    num_ctx: Annotated[CtxLength, Whole] | None = None
    num_gpu: Annotated[int, Whole] | None = None
    seed: Annotated[int, Ge(-1), Le(2**32 - 2), Whole] | None = None
    temperature: Annotated[float, Ge(0), Le(10)] | None = None
    top_k: Annotated[int, Ge(0), Le(1_000_000), Whole] | None = None
    top_p: Annotated[float, Ge(0), Le(1)] | None = None
    min_p: Annotated[float, Ge(0), Le(1)] | None = None
    typical_p: Annotated[float, Gt(0), Le(1)] | None = None
    repeat_penalty: Annotated[float, Gt(0), Le(10)] | None = None
    repeat_last_n: Annotated[int, Ge(-1), Le(1_000_000), Whole] | None = None
    frequency_penalty: Annotated[float, Ge(-10), Le(10)] | None = None
    presence_penalty: Annotated[float, Ge(-10), Le(10)] | None = None
    mirostat: Annotated[int, Ge(0), Le(2), Whole] | None = None
    mirostat_tau: Annotated[float, Gt(0), Le(100)] | None = None
    mirostat_eta: Annotated[float, Gt(0), Le(1)] | None = None
    stop: Annotated[list[Annotated[str, MaxLen(1000)]], MaxLen(64)] | None = None
    chat_format: str | None = None

    def sampling(self, form: str | dict[str, Any] | None, logprobs: int | None) -> SamplingParams:
        """How the text is drawn.

        Args:
            form: ``format`` of the request: a JSON schema, or "json" for any JSON object.
            logprobs: how many likeliest tokens are told beside each one; None tells none.
        """
        given = {
            field.name: getattr(self, field.name)
            for field in fields(SamplingParams)
            if getattr(self, field.name, None) is not None
        }
        if self.seed == -1:
            given["seed"] = fresh_seed()
        endless = self.num_predict is None or self.num_predict < 1
        return SamplingParams(
            **{**DEFAULTS, **given},
            max_tokens=MAX_TOKENS if endless or self.num_predict is None else self.num_predict,
            json_schema={"type": "object"} if form == "json" else form if isinstance(form, dict) else None,
            logprobs=logprobs,
        )

    def load_options(self) -> LoadOptions:
        return LoadOptions(use_gpu=False if self.num_gpu == 0 else None, ctx_length=self.num_ctx)
