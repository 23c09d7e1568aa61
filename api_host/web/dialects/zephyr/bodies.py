"""The fields of the Zephyr API's requests, and the generation that each of them asks for.

Knows names, defaults and bounds, neither HTTP nor the words of a prompt. Fields that are not told here are ignored,
as the original's models ignored them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Le, MaxLen, MinLen

from api_host.generation import GenerationRequest, Message, SamplingParams
from api_host.web.dialects.zephyr import prompts
from api_host.web.dialects.zephyr.python_code import formatted, is_python
from api_host.web.naming import NamedModel, naming_problems
from api_host.web.validation import Shape

Text = Annotated[str, MinLen(1)]


@dataclass(kw_only=True)
class Sampled(NamedModel, ABC):
    """What every request may say: the model, its template, and how to sample; the bounds are SamplingParams'.

    ``do_sample`` false is greedy, whatever the fields below it say. ``seed`` makes sampling repeatable.
    """

    __pydantic_config__ = {"extra": "ignore"}

    chat_format: str | None = None
    max_new_tokens: Annotated[int, Ge(1), Le(1_000_000)] = 256
    do_sample: bool = True
    temperature: Annotated[float, Ge(0), Le(10)] = 0.7
    top_k: Annotated[int, Ge(0), Le(1_000_000)] = 50
    top_p: Annotated[float, Ge(0), Le(1)] = 0.95
    seed: Annotated[int, Ge(0), Le(2**32 - 2)] | None = None

    @classmethod
    def engine_names(cls) -> dict[str, str]:
        """The house's names of fields, each with this request's."""
        return {
            "inputs": "user_message",
            "options.ctx_length": "context",
            "options.": "",
            "parameters.max_tokens": "max_new_tokens",
            "parameters.": "",
        }

    @abstractmethod
    def turns(self) -> tuple[str, str]:
        """The system's and the user's words."""

    def generation_request(self, want_prompt: bool = False) -> GenerationRequest:
        system, user = self.turns()
        return GenerationRequest(
            inputs=[Message("system", system), Message("user", user)],
            model=self.reference,
            sampling=SamplingParams(
                max_tokens=self.max_new_tokens,
                temperature=self.temperature if self.do_sample else 0.0,
                top_k=self.top_k,
                top_p=self.top_p,
                seed=self.seed,
            ),
            chat_format=self.chat_format,
            want_prompt=want_prompt,
        )


@dataclass(kw_only=True)
class QueryModel(Sampled):
    """A question, and who is to answer it."""

    user_message: Text
    system_message: str = prompts.PYTHON_DEVELOPER

    def turns(self) -> tuple[str, str]:
        return self.system_message, self.user_message


@dataclass(kw_only=True)
class StructuredQuery(QueryModel):
    """Code, or a question about some, to be answered in fixed sections."""

    system_message: str = prompts.STRUCTURED_DOCUMENTATION


@dataclass(kw_only=True)
class CodeDocQuery(Sampled):
    """Code to document. ``include_comments``: whether the answer shows it again, with comments."""

    code: Annotated[str, MinLen(1), MaxLen(1_000_000)]
    language: Annotated[str, MinLen(1), MaxLen(50)] = "python"
    include_comments: bool = True

    @classmethod
    def engine_names(cls) -> dict[str, str]:
        return {**super().engine_names(), "inputs": "code"}

    def turns(self) -> tuple[str, str]:
        code = formatted(self.code) if is_python(self.language) else self.code
        return prompts.DOCUMENTATION, prompts.document(code, self.language, self.include_comments)


QUERY = Shape(QueryModel, naming_problems)
RAW = Shape(QueryModel, naming_problems, strict=False)
STRUCTURED = Shape(StructuredQuery, naming_problems)
CODE_DOC = Shape(CodeDocQuery, naming_problems)
