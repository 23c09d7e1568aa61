"""A host with a draft model, over HTTP: it answers as a host without one."""

from __future__ import annotations

from pathlib import Path

import pytest

from api_host.errors import InvalidRequest
from api_host.host import ApiHost
from api_host.models.demo import DEMO_MODEL_PATH
from tests.fakes.asking import capital_of, model_of, post, text_of
from tests.fakes.vocabularies import swapped

pytestmark = pytest.mark.usefixtures("clean_settings")

BODIES = [
    {"inputs": capital_of("France"), "parameters": {"top_k": 1}},
    {"inputs": "Tell me a short story.", "parameters": {"max_tokens": 60, "seed": 3, "temperature": 1.2}},
    {"inputs": [{"role": "user", "content": "Tell me a short story."}], "parameters": {"top_k": 1}},
]


def test_a_host_with_a_draft_model_answers_as_one_without(demo_host: ApiHost, tmp_path: Path) -> None:
    settings = {"tunnel": False, "port": 0, "models_dir": tmp_path, "announce": False}
    with ApiHost(model="demo", draft_model="demo", **settings) as host:
        answers = [text_of(post(host, body)) for body in BODIES]
        with_draft, without = model_of(host, "demo"), model_of(demo_host, "demo")
        assert with_draft["notes"] == without["notes"]
        assert (with_draft["draft_model"], without["draft_model"]) == ("demo.gguf", None)
    assert answers == [text_of(post(demo_host, body)) for body in BODIES]
    assert "Paris" in answers[0]


def test_a_draft_model_of_another_vocabulary_fails_the_load_with_the_reason(tmp_path: Path) -> None:
    swapped(tmp_path / "other.gguf", DEMO_MODEL_PATH)
    settings = {"tunnel": False, "port": 0, "models_dir": tmp_path, "announce": False}
    with ApiHost(model="demo", draft_model="other.gguf", **settings) as host:
        answer = post(host, BODIES[0])
        assert (answer.status_code, answer.json()["code"]) == (422, "model_load_failed")
        assert "draft model other.gguf has another vocabulary than demo.gguf" in answer.json()["error"]


def test_a_draft_model_that_is_no_name_is_refused_when_the_host_is_built() -> None:
    with pytest.raises(InvalidRequest, match=r"^draft_model: "):
        ApiHost(model="demo", draft_model="nothing like a model", announce=False)
