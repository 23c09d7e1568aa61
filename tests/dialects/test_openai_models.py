"""/v1/models and /v1/embeddings on a fake pipeline: what the client library reads of them."""

from __future__ import annotations

import base64
import struct
from typing import Any

import openai
import pytest

from api_host.errors import InvalidRequest
from api_host.generation import Accepted, Finished, LoadOptions, Timings, Usage, Vectors
from api_host.models.pool.entry import unseen
from tests.fakes.pipeline import FakeGeneration, FakePipeline
from tests.web.site import Site

EMBED = "/v1/embeddings"
FILE = "owner/name-GGUF/folder/name-Q4_K_M.gguf"


@pytest.fixture
def known(pipeline: FakePipeline) -> list[dict[str, Any]]:
    downloading = {**unseen(FILE, 10), "status": "downloading", "progress": {"done": 5, "total": 10}}
    failed = {**unseen("owner/other:Q8_0"), "status": "failed", "error": {"error": "no room", "status": 507}}
    loaded = {**unseen("demo", 2_000), "status": "loaded", "n_ctx_train": 2048, "n_params": 1_900_000}
    pipeline.known = [downloading, failed, loaded]
    return pipeline.known


def test_models_are_listed_with_their_facts_and_their_status(
    openai_client: openai.OpenAI, known: list[dict[str, Any]]
) -> None:
    found = {model.id: model for model in openai_client.models.list()}
    assert list(found) == [FILE, "owner/other:Q8_0", "demo"]
    demo: Any = found["demo"]
    assert (demo.object, demo.owned_by) == ("model", "api-host")
    assert demo.created > 1_600_000_000
    assert (demo.meta["n_ctx_train"], demo.meta["n_params"], demo.meta["size"]) == (2048, 1_900_000, 2_000)
    assert demo.status == {"value": "loaded"}
    downloading: Any = found[FILE]
    assert downloading.owned_by == "owner"
    assert downloading.status == {"value": "downloading", "progress": {"done": 5, "total": 10}}
    failed: Any = found["owner/other:Q8_0"]
    assert failed.status == {"value": "failed", "error": {"error": "no room", "status": 507}}


def test_a_model_is_found_by_its_id_with_slashes(
    openai_client: openai.OpenAI, site: Site, known: list[dict[str, Any]]
) -> None:
    assert openai_client.models.retrieve(FILE).id == FILE
    assert openai_client.models.retrieve("owner/other:Q8_0").id == "owner/other:Q8_0"
    assert site.get(f"/v1/models/{FILE}").json()["id"] == FILE


def test_a_model_that_is_not_there_is_told_with_404(
    openai_client: openai.OpenAI,
    pipeline: FakePipeline,
    known: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(model: str | None) -> str:
        raise InvalidRequest("model: is no name")

    for _ in range(2):
        with pytest.raises(openai.NotFoundError) as caught:
            openai_client.models.retrieve("a/b")
        assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
        assert "'a/b' is not here" in caught.value.message
        monkeypatch.setattr(pipeline, "canonical", refuse)


def test_vectors_come_as_base64_where_the_client_library_asks_for_them(
    openai_client: openai.OpenAI, site: Site, pipeline: FakePipeline
) -> None:
    answered = openai_client.embeddings.create(model="demo", input=["cat", "zephyr"])
    assert [(one.index, one.embedding) for one in answered.data] == [(0, [3.0]), (1, [6.0])]
    assert (answered.object, answered.model, answered.usage.prompt_tokens) == ("list", "demo", 7)
    assert answered.usage.total_tokens == 7
    raw = site.post({"input": "cat", "encoding_format": "base64"}, EMBED).json()["data"][0]["embedding"]
    assert struct.unpack("<f", base64.b64decode(raw)) == (3.0,)
    assert site.post({"input": "cat"}, EMBED).json()["data"][0]["embedding"] == [3.0]


@pytest.mark.parametrize(
    ("given", "texts"),
    [
        ("cat", ["cat"]),
        (["cat", "dog"], ["cat", "dog"]),
        ([1, 2, 3], [[1, 2, 3]]),
        ([[1], [2, 3]], [[1], [2, 3]]),
    ],
)
def test_inputs_of_every_shape_reach_the_pipeline(
    openai_client: openai.OpenAI, pipeline: FakePipeline, given: Any, texts: Any
) -> None:
    openai_client.embeddings.create(
        model="owner/name", input=given, extra_body={"options": {"use_gpu": False}}
    )
    (asked,) = pipeline.embedded
    assert (asked.inputs, asked.model, asked.options) == (texts, "owner/name", LoadOptions(use_gpu=False))


def test_vectors_are_cut_and_made_of_length_1_again(
    site: Site, pipeline: FakePipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = Vectors([[0.48, 0.64, 0.6], [0.0, 0.0, 1.0]])
    steps = [Accepted("demo", 0), vectors, Finished(Usage(), Timings())]
    monkeypatch.setattr(pipeline, "embed", lambda request: FakeGeneration(list(steps)))
    first, second = site.post({"input": ["a", "b"], "dimensions": 2}, EMBED).json()["data"]
    assert first["embedding"] == pytest.approx([0.6, 0.8])
    assert second["embedding"] == [0.0, 0.0]
    response = site.post({"input": "a", "dimensions": 4}, EMBED)
    error = response.json()["error"]
    assert (response.status_code, error["param"]) == (400, "dimensions")
    assert "allow 1 to 3" in error["message"]


@pytest.mark.parametrize(
    ("fields", "param", "words"),
    [
        ({}, "input", "is missing"),
        ({"input": []}, "input", "1 to 2048"),
        ({"input": ""}, "input", "is empty"),
        ({"input": ["a", 5]}, "input.1", "no text"),
        ({"input": "a", "encoding_format": "hex"}, "encoding_format", "float, base64"),
        ({"input": "a", "dimensions": 0}, "dimensions", "too small"),
        ({"input": "a", "model": ""}, "model", "is empty"),
    ],
)
def test_a_wrong_field_is_named(site: Site, fields: dict[str, Any], param: str, words: str) -> None:
    response = site.post(fields, EMBED)
    error = response.json()["error"]
    assert (response.status_code, error["param"], error["type"]) == (400, param, "invalid_request_error")
    assert words in error["message"]
    assert site.pipeline.embedded == []
