"""POST /api: every wrong field is told in a sentence of its own."""

from __future__ import annotations

import pytest

from tests.web.site import Site

WRONG_FIELDS = [
    (
        {"parameters": {"top_p": 3}},
        "parameters.top_p: 3 is too large; allowed: a number from 0 up to 1",
    ),
    (
        {"parameters": {"typical_p": 0}},
        "parameters.typical_p: 0 is too small; allowed: a number above 0 up to 1",
    ),
    (
        {"parameters": {"max_tokens": "5"}},
        'parameters.max_tokens: "5" is not a whole number; allowed: a whole number from 1 up to 1000000',
    ),
    (
        {"parameters": {"max_tokens": True}},
        "parameters.max_tokens: true is not a whole number; allowed: a whole number from 1 up to 1000000",
    ),
    (
        {"parameters": {"n": 1.0}},
        "parameters.n: 1.0 is not a whole number; allowed: a whole number from 1 up to 64",
    ),
    (
        {"parameters": {"temperature": False}},
        "parameters.temperature: false is not a number; allowed: a number from 0 up to 10",
    ),
    (
        {"parameters": {"temprature": 1}},
        "parameters.temprature: there is no such field; did you mean 'temperature'?",
    ),
    (
        {"parameters": {"stop": "#"}},
        'parameters.stop: "#" is not a list; '
        "allowed: a list of at most 64 items, each text of at most 1000 characters",
    ),
    (
        {"parameters": {"stop": [1]}},
        "parameters.stop.0: 1 is not text; allowed: text of at most 1000 characters",
    ),
    (
        {"parameters": {"logit_bias": {"1": "x"}}},
        'parameters.logit_bias.1: "x" is not a number; allowed: a number from -1000 up to 1000',
    ),
    (
        {"parameters": {"seed": 1099511627776}},
        "parameters.seed: 1099511627776 is too large; "
        "allowed: a whole number from 0 up to 4294967294 or null",
    ),
    (
        {"parameters": {"ignore_eos": 1}},
        "parameters.ignore_eos: 1 is not true or false; allowed: true or false",
    ),
    (
        {"parameters": []},
        "parameters: [] is not an object; allowed: an object or null",
    ),
    (
        {"options": {"use_gpu": "yes"}},
        'options.use_gpu: "yes" is not true or false; allowed: true or false or null',
    ),
    (
        {"options": {"ctx_length": 1}},
        "options.ctx_length: 1 is too small; allowed: a whole number from 64 up to 10000000 or null",
    ),
    (
        {"options": {"ctx_len": 1}},
        "options.ctx_len: there is no such field; did you mean 'ctx_length'?",
    ),
    (
        {"inputs": "Hi", "max_tokens": 5},
        "max_tokens: there is no such field here; it belongs at parameters.max_tokens",
    ),
    (
        {"inputs": "Hi", "parameters": {"ctx_length": 5}},
        "parameters.ctx_length: there is no such field here; it belongs at options.ctx_length",
    ),
    (
        {"inputs": "Hi", "parameters": {"stream": True}},
        "parameters.stream: there is no such field here; it belongs at stream",
    ),
    (
        {"options": {"ctx_length": 99, "ctx_lenght": 98}},
        "options.ctx_lenght: differs from options.ctx_length; allowed: one of the two",
    ),
    (
        {"strem": True},
        "strem: there is no such field; did you mean 'stream'?",
    ),
    (
        {"stream": "true"},
        'stream: "true" is not true or false; allowed: true or false',
    ),
    (
        {"model": 5},
        "model: 5 is not text; allowed: text or null",
    ),
    (
        {"model": ""},
        "model: is empty; leave it out for the host's default model",
    ),
    (
        {"repo_id": "a/b"},
        "file_name: is missing; repo_id needs the name of a GGUF file in it",
    ),
    (
        {"file_name": "b.gguf"},
        "repo_id: is missing; file_name needs the repository that holds it",
    ),
    (
        {"model": "x", "repo_id": "a/b", "file_name": "c.gguf"},
        "model: names the model a second time; allowed: model alone, or repo_id and file_name",
    ),
    (
        {"task": "embedding", "inputs": ["a", 5]},
        "inputs.1: 5 is no text to embed; allowed: a text that is not empty",
    ),
    (
        {"task": "embedding", "inputs": []},
        "inputs: 0 texts; allowed: 1 to 2048 in a request",
    ),
    (
        {"task": "embedding", "inputs": "a", "stream": True},
        "stream: embeddings come whole; allowed: false",
    ),
    (
        {"task": "translate"},
        'task: "translate" is not known; allowed: text_generation, embedding, none',
    ),
    (
        {"inputs": None},
        "inputs: is missing; allowed: a text to complete, or a chat history of role and content",
    ),
    (
        {"inputs": ""},
        "inputs: the text is empty; allowed: a text to complete, or a chat history of role and content",
    ),
    (
        {"inputs": 5},
        "inputs: 5 is neither text nor a list; "
        "allowed: a text to complete, or a chat history of role and content",
    ),
    (
        {"inputs": []},
        "inputs: the list is empty; allowed: at least one turn, with the role user",
    ),
    (
        {"inputs": ["x"]},
        'inputs.0: "x" is not a turn; allowed: {"role": ..., "content": ...}',
    ),
    (
        {"inputs": [{"role": "user"}]},
        "inputs.0.content: is missing; allowed: text",
    ),
    (
        {"inputs": [{"role": "bot", "content": ""}]},
        'inputs.0.role: "bot" is not known; allowed: system, user, assistant',
    ),
    (
        {"inputs": [{"role": "user", "content": "", "name": "x"}]},
        "inputs.0.name: there is no such field; allowed: role, content",
    ),
]


@pytest.mark.parametrize(("wrong", "sentence"), WRONG_FIELDS)
def test_a_wrong_field_is_told_in_one_sentence(site: Site, wrong: dict[str, object], sentence: str) -> None:
    assert site.problems({"inputs": "Hi", **wrong}) == [sentence]
    assert site.pipeline.requests == []


@pytest.mark.parametrize(
    ("roles", "place"),
    [
        (["assistant", "user"], "inputs.0.role: assistant cannot stand here; allowed: user"),
        (["user", "user"], "inputs.1.role: user cannot stand here; allowed: assistant"),
        (["system", "assistant"], "inputs.1.role: assistant cannot stand here; allowed: user"),
        (["user", "system"], "inputs.1.role: system cannot stand here; allowed: assistant"),
        (["user", "assistant"], "inputs: the last turn is assistant; allowed: user"),
        (["system"], "inputs: the last turn is system; allowed: user"),
    ],
)
def test_turns_out_of_order_are_refused(site: Site, roles: list[str], place: str) -> None:
    (sentence,) = site.problems({"inputs": [{"role": role, "content": "x"} for role in roles]})
    assert sentence.startswith(place)


def test_every_wrong_field_is_listed_at_once(site: Site) -> None:
    wrong = {
        "inputs": [{"role": "user", "content": 5}, {"role": "x", "content": "y"}],
        "repo_id": "a/b",
        "task": 5,
        "colour": "red",
        "parameters": {"top_p": 3, "min_p": "a", "n": 0, "tok_k": 1},
        "options": {"use_gpu": 1, "chat_format": 2},
    }
    found = site.problems(wrong)
    named = {sentence.split(":")[0] for sentence in found}
    assert {"task", "colour", "file_name", "options.use_gpu", "options.chat_format"} <= named
    assert {f"parameters.{name}" for name in ("top_p", "min_p", "n", "tok_k")} <= named
    assert len(found) == len(set(found)) == 9
    found = site.problems({**wrong, "task": "text_generation"})
    assert {"inputs.0.content", "inputs.1.role"} <= {sentence.split(":")[0] for sentence in found}


def test_a_long_wrong_value_is_not_repeated_whole(site: Site) -> None:
    (sentence,) = site.problems({"inputs": "Hi", "model": ["x" * 10_000]})
    assert len(sentence) < 200
