"""``POST /predict``: every argument of ``generate()`` is taken, let pass, or refused by its name."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, get_type_hints

import pytest

from api_host.generation import SamplingParams
from api_host.web.dialects.truss.arguments import SHAPE, Body
from api_host.web.dialects.truss.no_equivalent import NEUTRAL
from tests.fakes.pipeline import FakePipeline
from tests.web.site import Site

QUESTION = [{"role": "user", "content": "Hello"}]


def refusal(site: Site, body: Any) -> str:
    response = site.post(body, "/predict")
    assert response.status_code == 400, response.text
    assert response.headers["Content-Type"] == "application/json"
    found = response.json()
    assert set(found) == {"error", "code"}
    return str(found["error"])


def test_arguments_with_the_value_that_changes_nothing_pass(site: Site, pipeline: FakePipeline) -> None:
    assert site.post({"messages": QUESTION, **NEUTRAL}, "/predict").text == "Hello there"
    nulls = dict.fromkeys(NEUTRAL)
    assert site.post({"messages": QUESTION, **nulls}, "/predict").text == "Hello there"


@pytest.mark.parametrize("name", sorted(NEUTRAL))
def test_an_argument_without_an_equivalent_is_refused_by_its_name(site: Site, name: str) -> None:
    value = not NEUTRAL[name] if isinstance(NEUTRAL[name], bool) else 7
    found = refusal(site, {"messages": QUESTION, name: value})
    assert found.startswith(f"{name}: ")
    assert "has no equivalent here; allowed: " in found


def test_true_is_not_taken_for_one(site: Site) -> None:
    sentence = "num_beams: true has no equivalent here; allowed: 1 or null"
    assert refusal(site, {"messages": QUESTION, "num_beams": True}) == sentence


WRONG = [
    ({}, "messages: is missing; allowed: a list"),
    ({"messages": "Hello"}, 'messages: "Hello" is not a list'),
    ({"messages": []}, "messages: the list is empty"),
    ({"messages": [{"role": "assistant", "content": "x"}]}, "messages.0.role: assistant cannot stand here"),
    ({"max_new_tokens": 0}, "max_new_tokens: 0 is too small; allowed: a whole number from 1 up to 10000000"),
    ({"temperature": 11}, "temperature: 11 is too large; allowed: a number from 0 up to 10"),
    ({"top_p": -1}, "top_p: -1 is too small; allowed: a number from 0 up to 1"),
    ({"top_k": "40"}, 'top_k: "40" is not a whole number'),
    ({"stream": "yes"}, 'stream: "yes" is not true or false; allowed: true or false'),
    ({"max_length": 9, "max_new_tokens": 8}, "max_length: 9 differs from max_new_tokens"),
    ({"stop_strings": ["a", 1]}, "stop_strings: 1 cannot end a text; allowed: text, or a list"),
    ({"stop_strings": ""}, 'stop_strings: "" cannot end a text'),
    ({"stop_strings": ["a"] * 65}, "stop_strings: 65 texts are too many"),
    ({"bad_words_ids": [[]]}, "bad_words_ids.0: [] is too short"),
    ({"suppress_tokens": [-1]}, "suppress_tokens.0: -1 is too small"),
    ({"num_return_sequences": 2}, "num_return_sequences: 2 texts cannot be told apart in a stream"),
    ({"temprature": 1}, "temprature: there is no such field; did you mean 'temperature'?"),
    ({"num_beamz": 1}, "num_beamz: there is no such field; allowed: "),
    ({"repo_id": "owner/name"}, "file_name: is missing"),
]


@pytest.mark.parametrize(("fields", "sentence"), WRONG)
def test_a_wrong_field_is_told_in_a_sentence(site: Site, fields: dict[str, Any], sentence: str) -> None:
    body = fields if "messages" in fields or not fields else {"messages": QUESTION, **fields}
    assert refusal(site, body).startswith(sentence)


def test_every_wrong_field_is_told_at_once(site: Site) -> None:
    found = refusal(site, {"messages": [], "top_p": 3, "num_beams": 4})
    assert [sentence.split(":")[0] for sentence in found.split("; ") if ": " in sentence] == [
        "top_p",
        "allowed",
        "num_beams",
        "allowed",
        "messages",
        "allowed",
    ]


@pytest.mark.parametrize(
    ("method", "path", "data", "status"),
    [
        ("POST", "/predict", b"{", 400),
        ("POST", "/predict", b"", 400),
        ("POST", "/predict", b"[1]", 400),
        ("GET", "/predict", None, 405),
        ("POST", "/predict/more", b"{}", 404),
    ],
)
def test_refusals_of_every_kind_have_the_dialects_shape(
    site: Site, method: str, path: str, data: bytes | None, status: int
) -> None:
    headers = {"Content-Type": "application/json"}
    response = site.session.request(method, site.url + path, data=data, headers=headers, timeout=10)
    assert response.status_code == status
    assert isinstance(response.json()["error"], str)


def test_the_ranges_are_those_of_the_engine() -> None:
    same = {"temperature": "", "top_p": "", "top_k": "", "no_repeat_ngram_size": "", "typical_p": ""}
    renamed = {
        **dict.fromkeys(same, None),
        "repetition_penalty": "repeat_penalty",
        "num_return_sequences": "n",
    }
    here, there = (get_type_hints(kind, include_extras=True) for kind in (Body, SamplingParams))
    for name, ours in renamed.items():
        assert here[name] == there[ours or name], name


def test_the_schema_tells_the_arguments_and_their_only_values() -> None:
    schema = SHAPE.schema()
    assert schema["required"] == ["messages"]
    assert schema["properties"]["num_beams"] == {"enum": [1, None]}
    assert schema["properties"]["max_new_tokens"]["default"] == 4096
    assert {item.name for item in fields(Body)} == set(schema["properties"])
