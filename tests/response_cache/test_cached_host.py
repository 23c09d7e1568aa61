"""A host with a response cache, over HTTP, in several dialects."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from api_host.host import ApiHost
from api_host.models.demo import DEMO_MODEL_PATH
from tests.fakes.asking import capital_of, completion_tokens, text_of


@pytest.fixture
def host(clean_settings: None, tmp_path: Path, leaves_nothing: Callable[[], None]) -> Iterator[ApiHost]:
    host = ApiHost(
        model="demo",
        tunnel=False,
        port=0,
        models_dir=tmp_path,
        announce=False,
        cache="memory",
        ctx_length=512,
    )
    with host:
        yield host


def post(host: ApiHost, path: str, body: dict[str, Any], **headers: str) -> requests.Response:
    headers["Authorization"] = f"Bearer {host.access_token}"
    return requests.post(host.local_url + path, json=body, headers=headers, timeout=60)


def test_a_host_answers_from_memory_and_says_so_in_a_header(host: ApiHost) -> None:
    body = {"inputs": capital_of("France"), "parameters": {"top_k": 1}}
    first, second = post(host, "/api", body), post(host, "/api", body)
    assert (first.headers["X-Cache"], second.headers["X-Cache"]) == ("miss", "hit")
    assert first.json()["answer"] == second.json()["answer"]
    assert "Paris" in first.json()["answer"]["content"]
    streams = [post(host, "/api", {**body, "stream": True}) for _ in range(2)]
    assert [stream.headers["X-Cache"] for stream in streams] == ["hit", "hit"]
    assert "Paris" in streams[0].text
    assert "event: done" in streams[0].text
    computed = completion_tokens(host)
    requests.post(
        f"{host.local_url}/api/models/unload", json={"model": "demo", "token": host.access_token}, timeout=30
    ).raise_for_status()
    assert post(host, "/api", body).headers["X-Cache"] == "hit"
    assert completion_tokens(host) == computed
    assert "X-Cache" not in post(host, "/api", {"inputs": "Hi", "parameters": {"max_tokens": 1}}).headers


def test_a_header_of_the_request_goes_round_the_cache(host: ApiHost) -> None:
    body = {"inputs": capital_of("Italy"), "parameters": {"top_k": 1}}
    headers = [
        post(host, "/api", body, **{"Cache-Control": asked}).headers.get("X-Cache")
        for asked in ("no-store", "max-age=5", "no-cache", "")
    ]
    assert headers == [None, "miss", "miss", "hit"]


def test_other_dialects_are_answered_from_it_too(host: ApiHost) -> None:
    body = {"user_message": "What is the capital of Spain?", "do_sample": False}
    answers = [post(host, "/zephyr/python", body) for _ in range(2)]
    assert [answer.headers["X-Cache"] for answer in answers] == ["miss", "hit"]
    assert answers[0].json() == answers[1].json()
    assert "Madrid" in answers[0].json()["response"]
    chats = [
        post(host, "/v1/chat/completions", {"messages": capital_of("Spain"), "temperature": 0})
        for _ in range(2)
    ]
    assert [chat.headers["X-Cache"] for chat in chats] == ["miss", "hit"]
    assert chats[0].json()["choices"] == chats[1].json()["choices"]


def test_a_request_that_is_wrong_is_told_so_with_a_cache_as_without(host: ApiHost) -> None:
    response = post(host, "/api", {"inputs": "a " * 600, "parameters": {"top_k": 1}})
    assert (response.status_code, response.json()["code"]) == (400, "context_length_exceeded")
    response = post(host, "/api", {"inputs": "a", "model": "//", "parameters": {"top_k": 1}})
    assert response.status_code == 400


def unload(host: ApiHost, model: str) -> None:
    post(host, "/api/models/unload", {"model": model}).raise_for_status()


def replace(model: Path) -> None:
    """Other weights of the same size take the file's place."""
    content = bytearray(DEMO_MODEL_PATH.read_bytes())
    content[300_000:2_000_000] = bytes(1_700_000)
    other = model.with_suffix(".new")
    other.write_bytes(content)
    other.replace(model)


def answer_of(host: ApiHost, model: str, country: str, **headers: str) -> tuple[str | None, str]:
    body = {"model": model, "inputs": capital_of(country), "parameters": {"top_k": 1, "max_tokens": 20}}
    answered = post(host, "/api", body, **headers)
    return answered.headers.get("X-Cache"), text_of(answered)


def test_an_answer_of_the_old_weights_is_not_given_for_the_new_file(host: ApiHost, tmp_path: Path) -> None:
    shutil.copy(DEMO_MODEL_PATH, tmp_path / "a.gguf")
    assert answer_of(host, "a.gguf", "France")[0] == "miss"
    assert answer_of(host, "a.gguf", "France")[0] == "hit"
    replace(tmp_path / "a.gguf")
    assert "Rome" in answer_of(host, "a.gguf", "Italy")[1]
    unload(host, "a.gguf")
    cache, text = answer_of(host, "a.gguf", "Italy")
    assert (cache, "Rome" in text) == ("miss", False)
    assert answer_of(host, "a.gguf", "Italy") == ("hit", text)


def test_a_link_whose_file_is_replaced_is_another_model(host: ApiHost, tmp_path: Path) -> None:
    shutil.copy(DEMO_MODEL_PATH, tmp_path / "a.gguf")
    (tmp_path / "current.gguf").symlink_to("a.gguf")
    assert [answer_of(host, "current.gguf", "Spain")[0] for _ in range(2)] == ["miss", "hit"]
    unload(host, "current.gguf")
    replace(tmp_path / "a.gguf")
    cache, text = answer_of(host, "current.gguf", "Spain")
    assert (cache, "Madrid" in text) == ("miss", False)


def test_a_model_that_is_loaded_with_a_longer_context_gives_longer_answers(host: ApiHost) -> None:
    endless = {"inputs": "A cat", "parameters": {"top_k": 1, "max_tokens": 600, "ignore_eos": True}}
    first = post(host, "/api", endless)
    assert (first.headers["X-Cache"], first.json()["finish_reason"]) == ("miss", "length")
    longer = {"inputs": "A", "parameters": {"max_tokens": 1}, "options": {"ctx_length": 1024}}
    post(host, "/api", longer).raise_for_status()
    for cache in ("miss", "hit"):
        second = post(host, "/api", endless)
        assert (second.headers["X-Cache"], second.json()["usage"]["completion_tokens"]) == (cache, 600)


def test_a_host_without_the_setting_has_no_cache(demo_host: ApiHost) -> None:
    body = {"inputs": capital_of("France"), "parameters": {"top_k": 1}}
    for _ in range(2):
        assert "X-Cache" not in post(demo_host, "/api", body).headers
