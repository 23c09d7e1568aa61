"""Holds a text to a grammar in GBNF (llama.cpp's notation, grammars/README.md), or to a JSON schema turned into one."""

from __future__ import annotations

import json
import math
from typing import Any

import llama_cpp
from llama_cpp import llama_grammar

from api_host.engine.llama.candidates import Candidates
from api_host.engine.llama.model import LlamaModel, recent_errors
from api_host.errors import InvalidRequest, without_paths

# What the converter of llama-cpp-python raises for a schema that it does not understand.
_SCHEMA_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NotImplementedError,
    RecursionError,
    TypeError,
    ValueError,
)


def schema_grammar(schema: dict[str, Any]) -> str:
    """The grammar of all JSON texts that a JSON schema allows.

    Raises:
        InvalidRequest: a schema that cannot be turned into a grammar.
    """
    try:
        return str(llama_grammar.json_schema_to_gbnf(json.dumps(schema)))
    except _SCHEMA_ERRORS as error:
        what = f"{type(error).__name__}: {error}"
        raise InvalidRequest(
            f"parameters.json_schema: it cannot be turned into a grammar ({what})"
        ) from error


class Grammar:
    """The state of one text under a grammar.

    Raises:
        InvalidRequest: the grammar does not parse.
    """

    def __init__(self, model: LlamaModel, source: str) -> None:
        recent_errors.clear()
        self._sampler = llama_cpp.llama_sampler_init_grammar(model.vocab, source.encode(), b"root")
        if not self._sampler:
            reason = without_paths(" ".join(recent_errors)) or "llama.cpp gave no reason"
            raise InvalidRequest(f"parameters.grammar: it does not parse: {reason}")

    def allows(self, token: int, candidates: Candidates) -> bool:
        """Whether the text may go on with this token; judging one costs microseconds, all of them milliseconds."""
        single = candidates.only(token)
        self.apply(candidates)
        return not math.isinf(single[0].logit)

    def apply(self, candidates: Candidates) -> None:
        """Rules out every candidate with which the text may not go on."""
        llama_cpp.llama_sampler_apply(self._sampler, candidates.struct)

    def accept(self, token: int) -> None:
        """The text goes on with a token that it allows; another one would end the process."""
        llama_cpp.llama_sampler_accept(self._sampler, token)

    def close(self) -> None:
        if self._sampler:
            llama_cpp.llama_sampler_free(self._sampler)
            self._sampler = None
