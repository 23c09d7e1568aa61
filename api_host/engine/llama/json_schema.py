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

# Any other format is a remark for readers, as JSON schema has it.
_FORMATS = {"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri"}

_NO_TEXT = (
    llama_cpp.LLAMA_TOKEN_ATTR_UNKNOWN
    | llama_cpp.LLAMA_TOKEN_ATTR_UNUSED
    | llama_cpp.LLAMA_TOKEN_ATTR_CONTROL
)

# Where in a schema there are further ones: by name, in a list, or one.
_NAMED = ("properties", "patternProperties", "$defs", "definitions")
_LISTED = ("anyOf", "oneOf", "allOf", "prefixItems", "items")
_SINGLE = ("items", "additionalProperties", "additionalItems")
# An object that says more than its properties is left as open as it is.
_OPEN = (
    "additionalProperties",
    "patternProperties",
    "unevaluatedProperties",
    "allOf",
    "anyOf",
    "oneOf",
    "$ref",
)


class JsonSchemas:
    """All tokens of one model, as llguidance looks them up; made once, which takes about 3 us and 400 bytes a token."""

    def __init__(self, model: LlamaModel) -> None:
        self._eog_tokens = model.eog_tokens
        self._n_vocab = model.n_vocab
        self._tokenizer = _tokenizer(model)

    def held(self, schema: dict[str, Any]) -> HeldToSchema:
        """The state of one text under a schema.

        Objects have the properties that their schema names and no others, unless it says otherwise or could not be
        fulfilled like that.

        Raises:
            InvalidRequest: no text can be held to it.
        """
        try:
            matcher = self._matcher(_prepared(schema, closed=True))
            if matcher.is_error():
                matcher = self._matcher(_prepared(schema, closed=False))
        except (RecursionError, ValueError) as error:
            deep = isinstance(error, RecursionError) or "recursion limit" in str(error)
            what = "it is nested too deeply" if deep else f"no text can be held to it ({error})"
            raise InvalidRequest(f"parameters.json_schema: {what}") from error
        if matcher.is_error():
            raise InvalidRequest(
                f"parameters.json_schema: no text can be held to it ({_reason(matcher)}); change it, or let "
                'keywords be ignored that are not known here, with "x-guidance": {"lenient": true} in it'
            )
        return HeldToSchema(matcher, self._eog_tokens, self._n_vocab)

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
        return np.where(allowed, logits, np.float32(-np.inf))

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


def _prepared(schema: Any, closed: bool, is_part: bool = False) -> Any:
    """The schema without formats that are remarks, and with its objects ``closed``.

    What ``allOf`` puts together is left open: its parts have properties of each other.
    """
    if not isinstance(schema, dict):
        return schema
    found = {key: item for key, item in schema.items() if key != "format" or item in _FORMATS}
    for key, item in found.items():
        if key in _NAMED and isinstance(item, dict):
            found[key] = {name: _prepared(one, closed) for name, one in item.items()}
        elif key in _LISTED and isinstance(item, list):
            found[key] = [_prepared(one, closed, is_part=key == "allOf") for one in item]
        elif key in _SINGLE:
            found[key] = _prepared(item, closed)
    if (
        closed
        and not is_part
        and isinstance(found.get("properties"), dict)
        and not any(key in found for key in _OPEN)
    ):
        found["additionalProperties"] = False
    return found
