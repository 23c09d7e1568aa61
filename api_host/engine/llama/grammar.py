"""Holds a text to a grammar in GBNF (llama.cpp's notation, grammars/README.md).

llama.cpp ends the process for some grammars that its own README allows, and is given none of these.
"""

from __future__ import annotations

import math
import re

import llama_cpp
import numpy as np

from api_host.engine.llama.candidates import Candidates
from api_host.engine.llama.model import LlamaModel, recent_errors
from api_host.errors import InvalidRequest, without_paths

# Deeper groups end the stack of the parser.
MOST_NESTED = 500
# A literal, a class of characters, a remark, a repetition, a token, or one of the marks of a group.
_PARTS = re.compile(
    r'"(?:\\.|[^"\\])*(?:"|\\?\Z)|\[(?:\\.|[^\]\\])*(?:\]|\\?\Z)|#[^\n]*'
    r"|\{\s*(\d+)\s*,\s*(\d+)\s*\}|(!?<[^<>\s]*>)|([()])",
    re.DOTALL,
)


class Grammar:
    """The state of one text under a grammar. ``ended`` is never told: an end is allowed where the text is whole.

    Args:
        model: whose tokens the text is made of.
        source: the grammar; it begins with the rule ``root``.
        candidates: of the context whose logits are sampled.

    Raises:
        InvalidRequest: the grammar does not parse, or would end the process.
    """

    ended = False

    def __init__(self, model: LlamaModel, source: str, candidates: Candidates) -> None:
        _check(source)
        self._candidates = candidates
        recent_errors.clear()
        self._sampler = llama_cpp.llama_sampler_init_grammar(model.vocab, source.encode(), b"root")
        if not self._sampler:
            reason = without_paths(" ".join(recent_errors)) or "llama.cpp gave no reason"
            raise InvalidRequest(f"parameters.grammar: it does not parse: {reason}")

    def allows(self, token: int) -> bool:
        """Whether the text may go on with this token; judging one costs microseconds, all of them milliseconds."""
        single = self._candidates.only(token)
        llama_cpp.llama_sampler_apply(self._sampler, self._candidates.struct)
        return not math.isinf(single[0].logit)

    def rule_out(self, logits: np.ndarray) -> np.ndarray:
        """The logits with -inf where the text may not go on with a token."""
        self._candidates.fill(logits)
        llama_cpp.llama_sampler_apply(self._sampler, self._candidates.struct)
        return self._candidates.row

    def accept(self, token: int) -> None:
        """The text goes on with a token that it allows; another one would end the process."""
        llama_cpp.llama_sampler_accept(self._sampler, token)

    def close(self) -> None:
        if self._sampler:
            llama_cpp.llama_sampler_free(self._sampler)
            self._sampler = None


def _check(source: str) -> None:
    """Raises InvalidRequest for what llama.cpp would not survive."""
    if "\0" in source:
        raise InvalidRequest("parameters.grammar: it has a character of code 0 in it; write it as \\x00")
    depth = 0
    for part in _PARTS.finditer(source):
        least, most, token, group = part.groups()
        if most and int(least) > int(most):
            raise InvalidRequest(
                f"parameters.grammar: {part[0]} repeats less than its least; swap the numbers"
            )
        if token:
            raise InvalidRequest(
                f"parameters.grammar: {token[:60]} names a token, which is not possible here"
            )
        depth += {"(": 1, ")": -1}.get(group, 0)
        if depth > MOST_NESTED:
            raise InvalidRequest(f"parameters.grammar: its groups are nested deeper than {MOST_NESTED}")
