"""POST /v1/completions on a fake pipeline: prompts of every shape, echoes, and what the client library reads."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from api_host import errors
from api_host.generation import (
    Accepted,
    Chunk,
    Finished,
    SamplingParams,
    Timings,
    TokenLogprob,
    Usage,
    Waiting,
)
from api_host.web.dialects.openai.prompts import Prompts
from tests.dialects.openai_stream import stream_of
from tests.fakes.pipeline import FakeGeneration, FakePipeline, answer
from tests.web.site import ENDLESS, Site, until

PATH = "/v1/completions"


@pytest.fixture
def repeating(pipeline: FakePipeline) -> FakePipeline:
    """Each prompt is answered by itself in capitals; tokens, by how many there are."""

    def script(request: Any) -> list[Any]:
        prompt = request.inputs or f"<{len(request.prefix_tokens)}>"
        usage = Usage(prompt_tokens=1, completion_tokens=2)
        chunks = [Chunk(prompt.upper(), i, 2, "stop") for i in range(request.sampling.n)]
        return [Accepted("demo", 1, prompt), *chunks, Finished(usage, Timings())]

    pipeline.script = script
    return pipeline


@pytest.mark.parametrize(
    ("prompt", "texts"),
    [
        ("a cat", ["A CAT"]),
        (["a", "b", "c"], ["A", "B", "C"]),
        ([5, 6, 7], ["<3>"]),
        ([[5], [6, 7]], ["<1>", "<2>"]),
    ],
)
def test_prompts_of_every_shape_are_answered_in_order(
    openai_client: openai.OpenAI, repeating: FakePipeline, prompt: Any, texts: list[str]
) -> None:
    answered = openai_client.completions.create(model="demo", prompt=prompt)
    assert [choice.text for choice in answered.choices] == texts
    assert [choice.index for choice in answered.choices] == list(range(len(texts)))
    assert (answered.object, answered.model) == ("text_completion", "demo")
    assert answered.id.startswith("cmpl-")
    assert answered.usage and answered.usage.completion_tokens == 2 * len(texts)
    assert answered.usage.prompt_tokens == len(texts)


def test_each_prompt_has_its_choices_beside_each_other(
    openai_client: openai.OpenAI, repeating: FakePipeline
) -> None:
    prompts = ["a", "b"]
    plain = openai_client.completions.create(model="demo", prompt=prompts, n=2, echo=True)
    assert [(choice.index, choice.text) for choice in plain.choices] == [
        (0, "aA"),
        (1, "aA"),
        (2, "bB"),
        (3, "bB"),
    ]
    texts = ["", "", "", ""]
    for chunk in openai_client.completions.create(model="demo", prompt=prompts, n=2, echo=True, stream=True):
        for choice in chunk.choices:
            texts[choice.index] += choice.text
    assert texts == ["aA", "aA", "bB", "bB"]


def test_what_is_left_out_takes_openais_defaults(site: Site) -> None:
    assert site.post({"prompt": "a"}, PATH).status_code == 200
    (asked,) = site.pipeline.requests
    assert asked.sampling == SamplingParams(max_tokens=16, top_k=0, top_p=1.0)
    assert (asked.inputs, asked.suffix, asked.want_prompt, asked.prefix_tokens) == ("a", None, False, [])


def test_fields_of_completions_alone_reach_the_pipeline(site: Site) -> None:
    body = {
        "prompt": "a",
        "suffix": "z",
        "logprobs": 2,
        "grammar": "root ::= [a]",
        "best_of": 1,
        "max_tokens": 3,
    }
    assert site.post(body, PATH).status_code == 200
    (asked,) = site.pipeline.requests
    assert (asked.suffix, asked.sampling.logprobs, asked.sampling.max_tokens) == ("z", 2, 3)
    assert asked.sampling.grammar == "root ::= [a]"
    assert site.post({"prompt": "a", "suffix": ""}, PATH).status_code == 200
    assert site.pipeline.requests[-1].suffix is None


@pytest.mark.parametrize(
    ("fields", "param", "words"),
    [
        ({}, "prompt", "is missing"),
        ({"prompt": None}, "prompt", "is missing"),
        ({"prompt": ""}, "prompt", "is empty"),
        ({"prompt": []}, "prompt", "1 to 64"),
        ({"prompt": ["a"] * 65}, "prompt", "65 texts; allowed: 1 to 64"),
        ({"prompt": ["a", ""]}, "prompt.1", "is empty"),
        ({"prompt": [1, "a"]}, "prompt", '"a" is no token'),
        ({"prompt": [[1], [-1]]}, "prompt.1", "-1 is no token"),
        ({"prompt": [True]}, "prompt.0", "true is no text"),
        ({"prompt": [2**40]}, "prompt.0", "is no text"),
        ({"prompt": 5}, "prompt", "neither text nor a list"),
        ({"prompt": "a", "best_of": 3}, "best_of", "differs from n"),
        ({"prompt": "a", "echo": True, "suffix": "z"}, "echo", "suffix"),
        ({"prompt": "a", "logprobs": 21}, "logprobs", "too large"),
        ({"prompt": "a", "logprobs": True}, "logprobs", "not a whole number"),
        ({"prompt": "a", "max_tokens": 0}, "max_tokens", "too small"),
    ],
)
def test_a_wrong_field_is_named(site: Site, fields: dict[str, Any], param: str, words: str) -> None:
    response = site.post(fields, PATH)
    error = response.json()["error"]
    assert (response.status_code, error["param"], error["type"]) == (400, param, "invalid_request_error")
    assert words in error["message"]
    assert site.pipeline.requests == []


def test_logprobs_have_the_shape_of_completions(openai_client: openai.OpenAI, pipeline: FakePipeline) -> None:
    def entry(token: str, logprob: float) -> TokenLogprob:
        return TokenLogprob(token, logprob, [TokenLogprob(token, logprob)])

    pipeline.script = lambda request: [
        Accepted("demo", 2, "ab"),
        Chunk("cd", n_tokens=2, logprobs=[entry("c", -1.0), entry("d", -2.0)]),
        Chunk("e", n_tokens=1, finish_reason="length", logprobs=[entry("e", float("-inf"))]),
        Finished(Usage(), Timings()),
    ]
    (choice,) = openai_client.completions.create(model="demo", prompt="ab", echo=True, logprobs=1).choices
    assert (choice.text, choice.finish_reason) == ("abcde", "length")
    assert choice.logprobs and choice.logprobs.model_dump() == {
        "tokens": ["c", "d", "e"],
        "token_logprobs": [-1.0, -2.0, -9999.0],
        "top_logprobs": [{"c": -1.0}, {"d": -2.0}, {"e": -9999.0}],
        "text_offset": [2, 3, 4],
    }


def test_a_stream_ends_with_its_reason_its_usage_and_done(site: Site) -> None:
    body = {"prompt": "a", "stream": True, "stream_options": {"include_usage": True}}
    *bodies, last, end = stream_of(site.post(body, PATH).content)
    assert [body["choices"][0]["text"] for body in bodies] == ["Hello", " there", ""]
    assert [body["choices"][0]["finish_reason"] for body in bodies] == [None, None, "stop"]
    assert (last["choices"], last["usage"]["total_tokens"], end) == ([], 7, "[DONE]")


def test_a_prompt_that_does_not_fit_is_refused_before_the_first_byte(
    site: Site, pipeline: FakePipeline
) -> None:
    failure = errors.ContextLengthExceeded("inputs: too long", n_prompt_tokens=9, n_ctx=8)
    pipeline.script = lambda request: [failure] if request and request.inputs == "long" else answer("x")
    response = site.post({"prompt": ["a", "b", "long"], "stream": True}, PATH)
    assert response.status_code == 400
    error = response.json()["error"]
    assert (error["code"], error["param"], error["n_ctx"]) == ("context_length_exceeded", "prompt", 8)
    assert all(generation.ended.is_set() for generation in pipeline.generations[:2])


def test_a_client_that_goes_ends_all_of_its_prompts(site: Site, pipeline: FakePipeline) -> None:
    pipeline.script = lambda request: ENDLESS
    sock = site.raw({"prompt": ["a", "b"], "stream": True}, PATH)
    assert until(lambda: len(pipeline.generations) == 2)
    assert sock.recv(10)
    sock.close()
    assert all(generation.ended.wait(10) for generation in pipeline.generations)


def test_a_prompt_that_has_to_wait_for_the_model_is_asked_after_those_that_hold_it() -> None:
    order: list[str] = []

    class Told(FakeGeneration):
        def __init__(self, name: str, *early: Any) -> None:
            super().__init__([*early, *answer(name)])
            self.name = name

        def __iter__(self) -> Any:
            order.append(f"{self.name} begins")
            yield from super().__iter__()
            order.append(f"{self.name} ends")

    prompts = [Told("a", Waiting("loading")), Told("b"), Told("c", Waiting("loading")), Told("d")]
    events = list(Prompts(prompts, 1, False))
    assert order == [f"{name} {what}" for name, what in (
        ("a", "begins"), ("b", "begins"), ("c", "begins"), ("a", "ends"), ("b", "ends"),
        ("d", "begins"), ("c", "ends"), ("d", "ends"),
    )]  # fmt: skip
    texts = [event.text for event in events if isinstance(event, Chunk) and event.text]
    assert texts == ["a", "b", "c", "d"]
    assert isinstance(events[-1], Finished) and events[-1].usage.prompt_tokens == 20
    assert len([event for event in events if isinstance(event, Accepted)]) == 1
