"""A llama.cpp sampler chain for one sequence, made of only the samplers that are on.

Knows nothing of sequences or slots: it is given the prompt, for the penalties, and a row of logits.
"""

from __future__ import annotations

import itertools
import math
import secrets
from array import array

import llama_cpp

from api_host.engine.bans import Ban, MinTokens, NoBadWords, NoRepeatNgrams
from api_host.engine.llama.candidates import top_logprobs
from api_host.engine.llama.context import LlamaContext
from api_host.engine.llama.grammar import Grammar, schema_grammar
from api_host.engine.llama.model import LlamaModel
from api_host.errors import InvalidRequest
from api_host.generation import SamplingParams


class LlamaSampler:
    """The chain of ``params``; order: logit bias, penalties, top_k, typical_p, top_p, min_p, temperature, draw.

    Args:
        context: whose logits are sampled.
        params: see SamplingParams; mirostat replaces the truncating samplers, greedy leaves all of them out.
        prompt: its last ``repeat_last_n`` tokens count for the penalties.
        index: number of the choice; added to the seed, so that choices of one request differ.
    """

    def __init__(self, context: LlamaContext, params: SamplingParams, prompt: array[int], index: int) -> None:
        bias = _bias(context.model, params)
        self._context = context.pointer
        self._candidates = context.candidates
        self._bans = _bans(context.model, params, prompt)
        self._grammar = _grammar(context.model, params)
        chain_params = llama_cpp.llama_sampler_chain_default_params()
        chain_params.no_perf = True
        self._chain = llama_cpp.llama_sampler_chain_init(chain_params)
        n_vocab = context.model.n_vocab
        self._add_bias(n_vocab, bias)
        penalised = self._add_penalties(params, n_vocab, context.n_ctx)
        rules = self._grammar or self._bans or penalised
        # Then the likeliest token is drawn, and finding it takes a tenth of the time of a chain.
        self._argmax = params.greedy and not rules and all(value <= 0 for value in bias.values())
        self._biased = frozenset(bias)
        if params.greedy:
            self._add(llama_cpp.llama_sampler_init_greedy())
        else:
            self._add_draw(params, n_vocab, index)
        for token in prompt[-penalised:] if penalised else ():
            llama_cpp.llama_sampler_accept(self._chain, token)

    def _add(self, sampler: object) -> None:
        llama_cpp.llama_sampler_chain_add(self._chain, sampler)

    def _add_bias(self, n_vocab: int, bias: dict[int, float]) -> None:
        if bias:
            entries = (llama_cpp.llama_logit_bias * len(bias))()
            for entry, (token, value) in zip(entries, bias.items(), strict=True):
                entry.token, entry.bias = token, value
            self._add(llama_cpp.llama_sampler_init_logit_bias(n_vocab, len(bias), entries))

    def _add_penalties(self, params: SamplingParams, n_vocab: int, n_ctx: int) -> int:
        off = params.repeat_penalty == 1 and params.frequency_penalty == 0 and params.presence_penalty == 0
        last_n = n_ctx if params.repeat_last_n == -1 else params.repeat_last_n
        if off or last_n == 0:
            return 0
        repeat, frequency, presence = params.repeat_penalty, params.frequency_penalty, params.presence_penalty
        self._add(llama_cpp.llama_sampler_init_penalties(n_vocab, last_n, repeat, frequency, presence))
        return last_n

    def _add_draw(self, params: SamplingParams, n_vocab: int, index: int) -> None:
        seed = secrets.randbits(32) if params.seed is None else (params.seed + index) % (2**32 - 1)
        tau, eta = params.mirostat_tau, params.mirostat_eta
        if params.mirostat:
            self._add(llama_cpp.llama_sampler_init_temp(params.temperature))
            if params.mirostat == 1:
                self._add(llama_cpp.llama_sampler_init_mirostat(n_vocab, seed, tau, eta, 100))
            else:
                self._add(llama_cpp.llama_sampler_init_mirostat_v2(seed, tau, eta))
            return
        if params.top_k > 0:
            self._add(llama_cpp.llama_sampler_init_top_k(params.top_k))
        if params.typical_p < 1:
            self._add(llama_cpp.llama_sampler_init_typical(params.typical_p, 1))
        if params.top_p < 1:
            self._add(llama_cpp.llama_sampler_init_top_p(params.top_p, 1))
        if params.min_p > 0:
            self._add(llama_cpp.llama_sampler_init_min_p(params.min_p, 1))
        self._add(llama_cpp.llama_sampler_init_temp(params.temperature))
        self._add(llama_cpp.llama_sampler_init_dist(seed))

    def sample(self, row: int) -> int:
        """Draws from the logits of batch row ``row`` and remembers the token for penalties, n-grams and grammar."""
        if self._argmax:
            token = int(self._candidates.logits(self._context, row).argmax())
            if token not in self._biased:
                return token
        if self._grammar is None and not self._bans:
            return int(llama_cpp.llama_sampler_sample(self._chain, self._context, row))
        token = self._draw(row)
        if self._grammar is not None:
            # Nearly always the model keeps to the form by itself, and one token is cheap to judge.
            if not self._grammar.allows(token, self._candidates):
                token = self._draw(row, self._grammar)
            self._grammar.accept(token)
        for ban in self._bans:
            ban.accept(token)
        llama_cpp.llama_sampler_accept(self._chain, token)
        return token

    def _draw(self, row: int, grammar: Grammar | None = None) -> int:
        candidates = self._candidates
        logits = candidates.logits(self._context, row)
        candidates.fill(logits, set().union(*(ban.banned for ban in self._bans)))
        if grammar is not None:
            grammar.apply(candidates)
        llama_cpp.llama_sampler_apply(self._chain, candidates.struct)
        return candidates.selected

    def logprobs(self, row: int, token: int, n_top: int) -> list[tuple[int, float]]:
        """As ``top_logprobs``, of the model's own logits in ``row``."""
        return top_logprobs(self._candidates.logits(self._context, row), token, n_top)

    def close(self) -> None:
        if self._grammar is not None:
            self._grammar.close()
        if self._chain:
            llama_cpp.llama_sampler_free(self._chain)
            self._chain = None


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


def _grammar(model: LlamaModel, params: SamplingParams) -> Grammar | None:
    if params.grammar is not None and params.json_schema is not None:
        raise InvalidRequest("parameters.json_schema: allowed is it or parameters.grammar, not both")
    if params.json_schema is not None:
        return Grammar(model, schema_grammar(params.json_schema))
    return Grammar(model, params.grammar) if params.grammar is not None else None
