"""A request's inputs as the tokens that the model reads, and the strings at which its answer ends.

Knows templates and the vocabulary, no sequences and no slots.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass

from api_host.engine.llama.chat_template import ChatTemplate
from api_host.engine.llama.model import LlamaModel
from api_host.errors import ContextLengthExceeded, InvalidRequest
from api_host.generation import GenerationRequest


@dataclass
class PromptTokens:
    """``text`` is the prompt as the model reads it, special tokens included."""

    tokens: array[int]
    stop: list[str]
    text: str


def read_prompt(
    request: GenerationRequest, model: LlamaModel, template: ChatTemplate, n_ctx: int | None = None
) -> PromptTokens:
    """The prompt of a request.

    Args:
        n_ctx: tokens that it may have; a text that is far too long for it is not even read, which takes seconds.

    Raises:
        ContextLengthExceeded: it is.
        InvalidRequest: a chat that the template refuses, tokens that are none, no tokens at all, or a suffix for a
            model that was not trained to fill in.
    """
    stop = request.sampling.stop
    if isinstance(request.inputs, str):
        text = request.inputs
    else:
        rendered = template.render(request)
        text, stop = rendered.text, [*stop, *rendered.stop]
    if n_ctx is not None and (fewest := model.fewest_tokens(text)) > n_ctx:
        raise ContextLengthExceeded(
            f"inputs: the prompt has {fewest} tokens at least and the context holds {n_ctx}, answer included; "
            "shorten it",
            n_prompt_tokens=fewest,
            n_ctx=n_ctx,
        )
    if request.suffix is not None:
        tokens = _infill(model, text, request.suffix)
    elif request.prefix_tokens:
        tokens = _checked(model, request.prefix_tokens) + model.tokenize(text, add_special=False)
        text = model.text(tokens)
    else:
        # A template that writes BOS itself gets no second one.
        bos = model.token_text(model.bos)
        tokens = model.tokenize(text, add_special=not (bos and text.startswith(bos)))
    if not tokens:
        raise InvalidRequest("inputs: the text has no tokens; send at least one character")
    return PromptTokens(tokens, stop, text)


def text_tokens(
    model: LlamaModel, n_ctx: int, text: str | list[int], index: int, truncate: bool
) -> array[int]:
    """The tokens of the text number ``index`` of a request for embeddings.

    Args:
        n_ctx: the most that it may have; a text that is far too long is not even read, unless it is to be cut.
        truncate: cuts a text that has more, in front of the token that closes every text.

    Raises:
        InvalidRequest: tokens that are none, or no tokens at all. ContextLengthExceeded: too many; it names the text.
    """
    if isinstance(text, str):
        if not truncate and (fewest := model.fewest_tokens(text)) > n_ctx:
            raise _text_too_long(index, f"{fewest} tokens at least", fewest, n_ctx)
        tokens = model.tokenize(text, add_special=True, parse_special=False)
    else:
        tokens = _checked(model, text)
    if not tokens:
        raise InvalidRequest(f"inputs: text {index} has no tokens; send at least one character")
    if len(tokens) <= n_ctx:
        return tokens
    if not truncate:
        raise _text_too_long(index, f"{len(tokens)} tokens", len(tokens), n_ctx)
    closing = _closing(model, tokens) if isinstance(text, str) else array("i")
    return tokens[: n_ctx - len(closing)] + closing


def _text_too_long(index: int, tokens: str, n_tokens: int, n_ctx: int) -> ContextLengthExceeded:
    return ContextLengthExceeded(
        f"inputs: text {index} has {tokens} and this model embeds at most {n_ctx}; split it",
        n_prompt_tokens=n_tokens,
        n_ctx=n_ctx,
    )


def _closing(model: LlamaModel, tokens: array[int]) -> array[int]:
    """The token that the model adds at the end of these and of every text, if it adds one (EOS, SEP).

    The vector of a model that pools the last token is that token's.
    """
    added = model.tokenize("", add_special=True)
    return tokens[-1:] if added[-1:] == tokens[-1:] else array("i")


def _checked(model: LlamaModel, tokens: list[int]) -> array[int]:
    for token in tokens:
        if not 0 <= token < model.n_vocab:
            raise InvalidRequest(
                f"inputs: {token} is no token of this model; it has 0 to {model.n_vocab - 1}"
            )
    return array("i", tokens)


def _infill(model: LlamaModel, text: str, suffix: str) -> array[int]:
    """Prefix, suffix, middle: the order in which llama.cpp's infill models are trained."""
    marks = model.infill_tokens
    if marks is None:
        raise InvalidRequest("suffix: this model was not trained to fill in text; leave it out")
    before, after, between = marks
    tokens = model.tokenize("", add_special=True)
    tokens += array("i", [before]) + model.tokenize(text, add_special=False, parse_special=False)
    tokens += array("i", [after]) + model.tokenize(suffix, add_special=False, parse_special=False)
    return tokens + array("i", [between])
