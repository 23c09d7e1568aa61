"""The sampler of one sequence: rules that change logits, and a llama.cpp chain of only the samplers that are on.

Knows nothing of sequences or slots: it is given the prompt, for the penalties, and a row of logits.
"""

from __future__ import annotations

import functools
import itertools
import math
import secrets
from array import array
from typing import Any

import llama_cpp
import numpy as np

from api_host.engine.bans import Ban, MinTokens, NoBadWords, NoRepeatNgrams
from api_host.engine.drawing import COLDEST, above_share, draw, kept, likeliest, top_logprobs
from api_host.engine.llama.context import LlamaContext
from api_host.engine.llama.grammar import Grammar
from api_host.engine.llama.json_schema import HeldToSchema
from api_host.engine.llama.model import LlamaModel
from api_host.engine.penalties import Penalties
from api_host.errors import InvalidRequest
from api_host.generation import N_SEEDS, SamplingParams

# Beside a probability of 0 llama.cpp's typical sampling finds no entropy: it gets none below this share of the highest.
IMPOSSIBLE = 1e-30


class LlamaSampler:
    """Draws by ``params``; order: logit bias, penalties, top_k, typical_p, top_p, min_p, temperature, draw.

    What comes before the truncating samplers changes a copy of the logits. Where they begin with top_k, numpy finds
    the few tokens that it leaves and a llama.cpp chain goes on with them; without it numpy does all (``drawing.py``).

    Args:
        context: whose logits are sampled.
        params: see SamplingParams; mirostat replaces the truncating samplers, greedy leaves all of them out.
        prompt: its last ``repeat_last_n`` tokens count for the penalties.
        index: number of the choice; added to the seed, so that choices of one request differ.
    """

    def __init__(self, context: LlamaContext, params: SamplingParams, prompt: array[int], index: int) -> None:
        model = context.model
        self._params = params
        self._logits = context.logits
        self._candidates = context.candidates
        bias = _bias(model, params)
        self._biased = np.fromiter(bias, np.intp, len(bias))
        self._biases = np.fromiter(bias.values(), np.float32, len(bias))
        self._bans = _bans(model, params, prompt)
        self._penalties = _penalties(params, prompt, context.n_ctx)
        self._form = _form(context, params)
        seed = secrets.randbits(32) if params.seed is None else (params.seed + index) % N_SEEDS
        self._chain = _chain(params, model.n_vocab, seed) if _needs_chain(params) else None
        # Made only for who draws by it: that takes longer than all else here.
        alone = self._chain is None and not params.greedy
        self._random = np.random.default_rng(seed) if alone else None
        # Then the likeliest token needs no copy of the logits, unless it is one of these.
        only_biased = not (self._bans or self._penalties or self._form) and all(b <= 0 for b in bias.values())
        self._unlikely = frozenset(bias) if params.greedy and only_biased else None

    @property
    def ended(self) -> bool:
        """Whether the form that the text is held to leaves nothing to follow."""
        return self._form is not None and self._form.ended

    def sample(self, row: int) -> int | None:
        """Draws from the logits of batch row ``row`` and remembers the token for penalties, n-grams and the form.

        Returns:
            The token; None where a grammar or a schema leaves none, or all that there are or it leaves are banned.
        """
        logits = self._logits(row)
        if self._unlikely is not None:
            token = int(logits.argmax())
            if token not in self._unlikely:
                return token
        logits = self._changed(logits)
        token = self._draw(logits)
        if self._form is not None:
            # Nearly always the model keeps to the form by itself, and one token is cheap to judge.
            if logits[token] == -np.inf or not self._form.allows(token):
                logits = self._form.rule_out(logits)
                likeliest_left = int(logits.argmax())
                if logits[likeliest_left] == -np.inf:
                    return None
                token = self._draw(logits)
                if logits[token] == -np.inf:
                    token = likeliest_left
            self._form.accept(token)
        elif self._bans and logits[token] == -np.inf == logits.max():
            return None
        for ban in self._bans:
            ban.accept(token)
        if self._penalties is not None:
            self._penalties.accept(token)
        return token

    def _changed(self, logits: np.ndarray) -> np.ndarray:
        """The logits with bias and penalties, without banned tokens; a copy where that changes any."""
        if not (len(self._biased) or self._bans or self._penalties):
            return logits
        logits = logits.copy()
        logits[self._biased] += self._biases
        if self._penalties is not None:
            self._penalties.apply(logits)
        for ban in self._bans:
            logits[list(ban.banned)] = -np.inf
        return logits

    def _draw(self, logits: np.ndarray) -> int:
        params = self._params
        if params.greedy:
            return int(logits.argmax())
        if self._random is not None:
            ids = kept(logits, params.top_p, params.min_p)
            found = logits if ids is None else logits[ids]
            index = draw(found, params.temperature, self._random.random())
            return index if ids is None else int(ids[index])
        ids = likeliest(logits, params.top_k) if params.top_k and not params.mirostat else None
        if params.typical_p < 1 and not params.mirostat:
            ids = above_share(logits, IMPOSSIBLE, ids)
        # None are found where logits are no numbers, and a chain takes anything but none.
        self._candidates.fill(logits, ids if ids is not None and len(ids) else None)
        llama_cpp.llama_sampler_apply(self._chain, self._candidates.struct)
        return self._candidates.selected

    def logprobs(self, row: int, token: int, n_top: int) -> list[tuple[int, float]]:
        """As ``top_logprobs``, of the model's own logits in ``row``."""
        return top_logprobs(self._logits(row), token, n_top)

    def close(self) -> None:
        if self._form is not None:
            self._form.close()
        if self._chain:
            llama_cpp.llama_sampler_free(self._chain)
            self._chain = None


def _needs_chain(params: SamplingParams) -> bool:
    """Whether there is more to do than numpy does."""
    return not params.greedy and bool(params.mirostat or params.top_k > 0 or params.typical_p < 1)


def _chain(params: SamplingParams, n_vocab: int, seed: int) -> Any:
    """The samplers that are on, from top_k to the draw."""
    chain_params = llama_cpp.llama_sampler_chain_default_params()
    chain_params.no_perf = True
    chain = llama_cpp.llama_sampler_chain_init(chain_params)
    add = functools.partial(llama_cpp.llama_sampler_chain_add, chain)
    tau, eta = params.mirostat_tau, params.mirostat_eta
    temperature = params.temperature if params.temperature >= COLDEST else 0.0
    if params.mirostat:
        add(llama_cpp.llama_sampler_init_temp(temperature))
        if params.mirostat == 1:
            add(llama_cpp.llama_sampler_init_mirostat(n_vocab, seed, tau, eta, 100))
        else:
            add(llama_cpp.llama_sampler_init_mirostat_v2(seed, tau, eta))
        return chain
    if params.top_k > 0:
        add(llama_cpp.llama_sampler_init_top_k(params.top_k))
    if params.typical_p < 1:
        add(llama_cpp.llama_sampler_init_typical(params.typical_p, 1))
    if params.top_p < 1:
        add(llama_cpp.llama_sampler_init_top_p(params.top_p, 1))
    if params.min_p > 0:
        add(llama_cpp.llama_sampler_init_min_p(params.min_p, 1))
    add(llama_cpp.llama_sampler_init_temp(temperature))
    add(llama_cpp.llama_sampler_init_dist(seed))
    return chain


def _penalties(params: SamplingParams, prompt: array[int], n_ctx: int) -> Penalties | None:
    off = params.repeat_penalty == 1 and params.frequency_penalty == 0 and params.presence_penalty == 0
    last_n = n_ctx if params.repeat_last_n == -1 else params.repeat_last_n
    return None if off or last_n == 0 else Penalties(params, last_n, prompt)


def _bans(model: LlamaModel, params: SamplingParams, prompt: array[int]) -> list[Ban]:
    """The rules that are on."""
    bans: list[Ban] = []
    if params.no_repeat_ngram_size:
        bans.append(NoRepeatNgrams(params.no_repeat_ngram_size, prompt))
    if params.bad_words:
        for token in itertools.chain(*params.bad_words):
            _check_token(model, token, "bad_words")
        bans.append(NoBadWords(params.bad_words, prompt))
    if params.min_tokens:
        bans.append(MinTokens(params.min_tokens, model.eog_tokens))
    return bans


def _check_token(model: LlamaModel, token: int, name: str) -> None:
    if not 0 <= token < model.n_vocab:
        raise InvalidRequest(
            f"parameters.{name}: {token} is no token of this model; it has 0 to {model.n_vocab - 1}"
        )


def _bias(model: LlamaModel, params: SamplingParams) -> dict[int, float]:
    for token in params.logit_bias:
        _check_token(model, token, "logit_bias")
    banned = dict.fromkeys(model.eog_tokens, -math.inf) if params.ignore_eos else {}
    return {**params.logit_bias, **banned}


def _form(context: LlamaContext, params: SamplingParams) -> Grammar | HeldToSchema | None:
    """What the text is held to; an empty grammar is none."""
    grammar = params.grammar if params.grammar and params.grammar.strip() else None
    if grammar is not None and params.json_schema is not None:
        raise InvalidRequest("parameters.json_schema: allowed is it or parameters.grammar, not both")
    if params.json_schema is not None:
        return context.json_schemas.held(params.json_schema)
    return Grammar(context.model, grammar, context.candidates) if grammar is not None else None
