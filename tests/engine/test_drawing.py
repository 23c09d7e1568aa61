"""What numpy finds and draws, beside llama.cpp's own samplers on the same logits."""

from __future__ import annotations

import ctypes
import math
from array import array
from collections import Counter
from types import SimpleNamespace

import llama_cpp
import numpy as np
import pytest

from api_host.engine.drawing import above_share, draw, likeliest, nucleus, top_logprobs
from api_host.engine.llama.candidates import Candidates
from api_host.engine.llama.sampler import LlamaSampler
from api_host.engine.penalties import Penalties
from api_host.generation import SamplingParams

SIZES = [1, 40, 700, 32_000]


def logits_of(size: int, seed: int = 0, scale: float = 3.0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(size) * scale).astype(np.float32)


def kept_by(logits: np.ndarray, *samplers: object) -> dict[int, float]:
    """The tokens that llama.cpp's samplers leave, and their probabilities."""
    data = (llama_cpp.llama_token_data * len(logits))(
        *(llama_cpp.llama_token_data(i, float(logit), 0.0) for i, logit in enumerate(logits))
    )
    tokens = llama_cpp.llama_token_data_array(data, len(logits), -1, False)
    for sampler in (*samplers, llama_cpp.llama_sampler_init_dist(1)):
        llama_cpp.llama_sampler_apply(sampler, ctypes.byref(tokens))
        llama_cpp.llama_sampler_free(sampler)
    return {tokens.data[i].id: tokens.data[i].p for i in range(tokens.size)}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("k", [1, 10, 40, 5000])
def test_the_likeliest_are_among_the_few_that_are_found(size: int, k: int) -> None:
    logits = logits_of(size)
    found = likeliest(logits, k)
    expected = np.argsort(-logits)[:k]
    assert set(expected) <= set(found.tolist())
    assert len(found) <= 3 * k or size < 32_000 or k > size // 64
    assert (np.diff(found) > 0).all()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scale", [0.01, 3.0, 30.0])
@pytest.mark.parametrize("top_p", [0.001, 0.5, 0.95, 0.999])
def test_the_nucleus_is_llama_cpps(size: int, scale: float, top_p: float) -> None:
    logits = logits_of(size, scale=scale)
    expected = kept_by(logits, llama_cpp.llama_sampler_init_top_p(top_p, 1))
    found = set(nucleus(logits, top_p).tolist())
    # llama.cpp's sum is of single precision: in a long tail it passes the bound some tokens away.
    assert len(found ^ set(expected)) <= max(1, len(expected) // 50)


def test_of_equal_tokens_a_nucleus_has_no_more_than_it_needs() -> None:
    assert len(nucleus(np.zeros(1000, np.float32), 0.25)) == 250
    assert len(nucleus(np.zeros(1000, np.float32), 1e-6)) == 1


@pytest.mark.parametrize("min_p", [0.02, 0.5, 1.0])
def test_the_share_of_the_likeliest_is_llama_cpps(min_p: float) -> None:
    logits = logits_of(5000)
    expected = kept_by(logits, llama_cpp.llama_sampler_init_min_p(min_p, 1))
    assert set(above_share(logits, min_p).tolist()) == set(expected)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.0])
def test_tokens_are_drawn_as_often_as_they_are_probable(size: int, temperature: float) -> None:
    logits = logits_of(size, scale=2.0)
    expected = kept_by(logits, llama_cpp.llama_sampler_init_temp(temperature))
    n = 20_000
    drawn = Counter(draw(logits, temperature, (i + 0.5) / n) for i in range(n))
    # Over evenly spread shares a token is hit as often as its part of them is long, give or take one.
    for token in {*drawn, *sorted(expected, key=lambda one: -expected[one])[:200]}:
        assert drawn[token] == pytest.approx(n * expected[token], abs=1.1, rel=1e-3)


@pytest.mark.parametrize("share", [0.0, 0.3, math.nextafter(1.0, 0.0)])
def test_a_token_without_weight_is_never_drawn(share: float) -> None:
    logits = np.full(1000, -np.inf, np.float32)
    logits[[300, 301, 700]] = 0.0
    assert draw(logits, 1.0, share) == {0.0: 300, 0.3: 300}.get(share, 700)


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("some", [slice(0, None), slice(5, 6)])
def test_logits_that_are_no_numbers_give_a_token_all_the_same(broken: float, some: slice) -> None:
    logits = logits_of(1000)
    logits[some] = broken
    with np.errstate(invalid="ignore"):
        assert 0 <= draw(logits, 1.0, 0.5) < 1000
        nucleus(logits, 0.9)
        likeliest(logits, 10)
        above_share(logits, 0.5)


@pytest.mark.parametrize("n_top", [0, 3, 20])
def test_log_probabilities_are_those_of_a_softmax(n_top: int) -> None:
    logits = logits_of(5000)
    exact = logits - np.log(np.exp(logits.astype(np.float64)).sum())
    (token, logprob), *top = top_logprobs(logits, 17, n_top)
    assert (token, logprob) == (17, pytest.approx(exact[17], abs=1e-5))
    assert [one for one, _ in top] == np.argsort(-exact)[:n_top].tolist()
    assert [value for _, value in top] == pytest.approx(sorted(exact, reverse=True)[:n_top], abs=1e-5)


@pytest.mark.parametrize(
    "params",
    [
        SamplingParams(repeat_penalty=1.3),
        SamplingParams(frequency_penalty=0.5, presence_penalty=-0.25),
        SamplingParams(repeat_penalty=0.8, frequency_penalty=-1.5, presence_penalty=2),
    ],
)
@pytest.mark.parametrize("last_n", [1, 4, 100])
def test_penalties_are_llama_cpps(params: SamplingParams, last_n: int) -> None:
    logits = logits_of(50)
    prompt, answer = array("i", [3, 3, 9, 4, 8, 3]), [4, 4, 11, 3, 49, 0, 11]
    ours = Penalties(params, last_n, prompt)
    penalties = (params.repeat_penalty, params.frequency_penalty, params.presence_penalty)
    theirs = llama_cpp.llama_sampler_init_penalties(50, last_n, *penalties)
    for token in prompt:
        llama_cpp.llama_sampler_accept(theirs, token)
    for token in answer:
        changed = logits.copy()
        ours.apply(changed)
        expected = kept_by(logits, llama_cpp.llama_sampler_clone(theirs))
        weights = np.exp(changed.astype(np.float64))
        assert list(expected.values()) == pytest.approx((weights / weights.sum())[list(expected)], rel=1e-4)
        ours.accept(token)
        llama_cpp.llama_sampler_accept(theirs, token)
    llama_cpp.llama_sampler_free(theirs)


def sampler_of(logits: np.ndarray, **sampling: object) -> LlamaSampler:
    """A sampler of a context whose every row is ``logits``."""
    candidates = Candidates(len(logits))
    model = SimpleNamespace(n_vocab=len(logits), eog_tokens=[2])
    context = SimpleNamespace(model=model, candidates=candidates, logits=lambda row: logits, n_ctx=64)
    return LlamaSampler(context, SamplingParams(**sampling), array("i", [5, 6]), 0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "others", [{}, {"top_p": 0.8}, {"min_p": 0.1, "temperature": 0.7}, {"typical_p": 0.6}]
)
def test_behind_a_top_k_the_draws_are_llama_cpps_own(others: dict) -> None:
    logits = logits_of(32_000)
    ours = sampler_of(logits, **{"top_p": 1.0, "top_k": 30, "seed": 9, **others})
    chain = llama_cpp.llama_sampler_chain_init(llama_cpp.llama_sampler_chain_default_params())
    for sampler in (
        llama_cpp.llama_sampler_init_top_k(30),
        llama_cpp.llama_sampler_init_typical(others.get("typical_p", 1), 1),
        llama_cpp.llama_sampler_init_top_p(others.get("top_p", 1), 1),
        llama_cpp.llama_sampler_init_min_p(others.get("min_p", 0), 1),
        llama_cpp.llama_sampler_init_temp(others.get("temperature", 1)),
        llama_cpp.llama_sampler_init_dist(9),
    ):
        llama_cpp.llama_sampler_chain_add(chain, sampler)
    theirs = Candidates(len(logits))
    for _ in range(50):
        theirs.fill(logits)
        llama_cpp.llama_sampler_apply(chain, theirs.struct)
        assert ours.sample(0) == theirs.selected
    llama_cpp.llama_sampler_free(chain)
    ours.close()


@pytest.mark.parametrize("ruled_out", [[], [5], [2, 5]])
@pytest.mark.parametrize("top_k", [0, 400])
def test_typical_tokens_are_found_among_those_that_are_left(top_k: int, ruled_out: list[int]) -> None:
    logits = np.full(400, -30.0, np.float32)
    logits[100] = math.log(0.3)
    logits[200:270] = math.log(0.01) + np.linspace(-0.5, 0.5, 70)
    left = np.delete(logits, ruled_out)
    typical = kept_by(left, llama_cpp.llama_sampler_init_typical(0.5, 1))
    expected = {int(np.delete(np.arange(400), ruled_out)[index]) for index in typical}
    others = {"top_k": top_k, "top_p": 1.0, "typical_p": 0.5, "seed": 1}
    sampler = sampler_of(logits, logit_bias=dict.fromkeys(ruled_out, -1000.0), **others)
    assert {sampler.sample(0) for _ in range(300)} <= expected
    sampler.close()


@pytest.mark.parametrize(
    "sampling", [{"top_k": 0, "top_p": 1.0}, {"top_k": 0, "top_p": 0.9}, {"top_k": 10}, {"mirostat": 2}]
)
@pytest.mark.parametrize("temperature", [1e-36, 1e-44, 1e-46, 5e-324])
def test_the_lowest_temperatures_draw_the_likeliest_token(temperature: float, sampling: dict) -> None:
    logits = logits_of(5000)
    sampler = sampler_of(logits, seed=1, temperature=temperature, **sampling)
    assert {sampler.sample(0) for _ in range(20)} == {int(logits.argmax())}
    sampler.close()


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    "sampling",
    [
        {},
        {"top_k": 0, "top_p": 1.0},
        {"top_k": 0, "top_p": 0.9, "min_p": 0.1},
        {"temperature": 0},
        {"repeat_penalty": 1.2},
        {"typical_p": 0.5},
        {"top_k": 0, "typical_p": 0.5},
    ],
)
def test_a_sampler_survives_logits_that_are_no_numbers(sampling: dict, broken: float) -> None:
    for some in (slice(0, None), slice(5, 6)):
        logits = logits_of(5000)
        logits[some] = broken
        sampler = sampler_of(logits, seed=1, **sampling)
        with np.errstate(invalid="ignore"):
            assert 0 <= sampler.sample(0) < 5000
        sampler.close()


@pytest.mark.parametrize(
    ("sampling", "drawn"),
    [
        ({"top_k": 0, "top_p": 0.6}, {7, 8}),
        ({"top_k": 0, "top_p": 1.0, "min_p": 0.3}, {7, 8, 9}),
        ({"top_k": 0, "top_p": 0.99, "min_p": 0.9}, {7}),
        ({"top_k": 0, "top_p": 0.6, "logit_bias": {7: -100, 5: 12.5}}, {5, 8}),
        ({"top_k": 0, "top_p": 0.9, "bad_words": [[8]]}, {7, 9}),
        ({"top_k": 2, "top_p": 1.0, "repeat_penalty": 10.0}, {7, 8, 9}),
        ({"top_k": 0, "mirostat": 2}, {7, 8, 9}),
        ({"temperature": 0, "logit_bias": {7: -100}}, {8}),
        ({"temperature": 0, "logit_bias": {3: 100}}, {3}),
        ({"temperature": 0, "presence_penalty": 2.0, "repeat_last_n": 2}, {7, 8, 9}),
    ],
)
def test_only_what_the_rules_leave_is_drawn(sampling: dict, drawn: set) -> None:
    logits = np.full(40, -9.0, np.float32)
    logits[[7, 8, 9]] = 3.4, 3.0, 2.6
    before = logits.copy()
    sampler = sampler_of(logits, seed=1, **sampling)
    assert {sampler.sample(0) for _ in range(200)} == drawn
    assert (logits == before).all()
    sampler.close()
