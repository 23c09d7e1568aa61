"""Holds a text to a JSON schema, by llguidance: it says at each place which tokens may come next, in microseconds.

Knows nothing of sequences. What of JSON schema it understands: llguidance's docs/json_schema.md.
"""

from __future__ import annotations

import ctypes
import json
from collections.abc import Iterable
from typing import Any

import llama_cpp
import numpy as np
from llguidance import LLMatcher, LLParserLimits, LLTokenizer

from api_host.engine.llama.model import LlamaModel
from api_host.engine.schema_forms import forms
from api_host.errors import GenerationFailed, InvalidRequest

# A space may follow a comma or a colon, and there is no other: a small model could write white space for ever, and
# each token of it costs a step. Of several alternatives any may come.
_DEFAULTS: Any = {
    "whitespace_flexible": False,
    "item_separator": ", ?",
    "key_separator": ": ?",
    "coerce_one_of": True,
}
# Errors otherwise carry the parser's state.
_LIMITS = LLParserLimits(verbose_errors=False)

_NO_TEXT = (
    llama_cpp.LLAMA_TOKEN_ATTR_UNKNOWN
    | llama_cpp.LLAMA_TOKEN_ATTR_UNUSED
    | llama_cpp.LLAMA_TOKEN_ATTR_CONTROL
)


class JsonSchemas:
    """All tokens of one model, as llguidance looks them up; made once, which takes about 5 us and 400 bytes a token."""

    def __init__(self, model: LlamaModel) -> None:
        self._eog_tokens = model.eog_tokens
        self._n_vocab = model.n_vocab
        try:
            self._tokenizer = _tokenizer(model)
        except ValueError as error:
            raise InvalidRequest(
                f"parameters.json_schema: no text of this model can be held to a schema ({error}); use a grammar"
            ) from error

    def held(self, schema: dict[str, Any]) -> HeldToSchema:
        """The state of one text under the strictest of the schema's forms (``schema_forms.py``) that can be held to.

        Raises:
            InvalidRequest: no text can be held to it.
        """
        try:
            for form in forms(schema):
                matcher = self._matcher(form)
                if not matcher.is_error():
                    return HeldToSchema(matcher, self._eog_tokens, self._n_vocab)
        except (RecursionError, ValueError) as error:
            deep = isinstance(error, RecursionError) or "recursion limit" in str(error)
            what = "it is nested too deeply" if deep else f"no text can be held to it ({error})"
            raise InvalidRequest(f"parameters.json_schema: {what}") from error
        raise InvalidRequest(
            f"parameters.json_schema: no text can be held to it ({_reason(matcher)}); change it, or let "
            'keywords be ignored that are not known here, with "x-guidance": {"lenient": true} in it'
        )

    def _matcher(self, schema: dict[str, Any]) -> LLMatcher:
        grammar = LLMatcher.grammar_from_json_schema(json.dumps(schema), defaults=_DEFAULTS)
        return LLMatcher(self._tokenizer, grammar, log_level=0, limits=_LIMITS)


class HeldToSchema:
    """One text under a schema. ``ended``: it is whole, and nothing may follow."""

    def __init__(self, matcher: LLMatcher, eog_tokens: Iterable[int], n_vocab: int) -> None:
        self._matcher = matcher
        self._ends = list(eog_tokens)
        self._n_vocab = n_vocab
        self.ended = False

    def allows(self, token: int) -> bool:
        """Whether the text may go on with this token, or end where it ends one."""
        if token in self._ends:
            return self._matcher.is_accepting()
        return self._matcher.validate_tokens([token]) == 1

    def rule_out(self, logits: np.ndarray) -> np.ndarray:
        """The logits with -inf where the text may not go on with a token.

        Raises:
            GenerationFailed: the schema is too much for llguidance here.
        """
        found = self._matcher.compute_bitmask()
        self._check()
        allowed = np.unpackbits(np.frombuffer(found, np.uint8), count=self._n_vocab, bitorder="little")
        allowed[self._ends] = self._matcher.is_accepting()
        left = np.where(allowed, logits, np.float32(-np.inf))
        if left.max() == -np.inf:
            # Of a text that is certain to come the mask has one token at a place, and that may be banned.
            others = [token for token in np.flatnonzero(logits > -np.inf) if self.allows(int(token))]
            left[others] = logits[others]
        return left

    def accept(self, token: int) -> None:
        """The text goes on with a token that it allows. Raises GenerationFailed as ``rule_out`` does."""
        if token not in self._ends:
            self._matcher.consume_token(token)
            self._check()
            self.ended = self._matcher.is_stopped()

    def close(self) -> None:
        """Nothing is held outside of Python."""

    def _check(self) -> None:
        if self._matcher.is_error():
            raise GenerationFailed(
                f"the text could not be held to its JSON schema any longer ({_reason(self._matcher)}); "
                "make the schema simpler"
            )


def _reason(matcher: LLMatcher) -> str:
    return " ".join(matcher.get_error().split())[:300]


def _tokenizer(model: LlamaModel) -> LLTokenizer:
    """The bytes of a model's tokens, and how llama.cpp makes tokens of a text.

    No token of the model ends a text here: which of them may, and when, is decided beside it.
    """
    ends = set(model.eog_tokens)
    tokens = [model.read_piece(token, show_control=True) for token in range(model.n_vocab)]
    for token in range(model.n_vocab):
        if token in ends or llama_cpp.llama_vocab_get_attr(model.vocab, token) & _NO_TEXT:
            tokens[token] = b"\xff" + tokens[token]
    tokenize = ctypes.cast(llama_cpp.llama_cpp._lib.llama_tokenize, ctypes.c_void_p).value
    made: LLTokenizer = LLTokenizer.from_llamacpp(  # type: ignore[attr-defined]
        tokens=[*tokens, b"\xff<end>"],
        vocab_ptr=model.vocab,
        tokenize_fptr=tokenize,
        eos_token=model.n_vocab,
        slices=LLTokenizer.json_slices(),
    )
    return made
