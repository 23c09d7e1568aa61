"""Every dialect takes its token and its model in the same ways, and none in any other."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
import websocket

from tests.dialects.asked_host import CHAT, FILE, LOCAL, QUESTION, REPO, AskedHost, asked_host

Json = dict[str, Any]

ASKED: dict[str, Json] = {
    "/api": {"inputs": CHAT, "parameters": {"top_k": 1}},
    "/v1/chat/completions": {"messages": CHAT, "temperature": 0},
    "/v1/responses": {"input": QUESTION, "temperature": 0},
    "/v1/messages": {"messages": CHAT, "max_tokens": 32, "temperature": 0},
    "/api/chat": {"messages": CHAT, "stream": False, "options": {"temperature": 0}},
    "/api/v1/generate": {"inputs": QUESTION, "max_new_tokens": 12},
    "/predict": {"messages": CHAT, "do_sample": False, "stream": False},
    "/generate": {"prompt": "The capital of France is", "params": {"temp": 0, "n_predict": 8}},
    "/zephyr/python": {"user_message": QUESTION, "do_sample": False},
}
FORMS = {
    "/api/v1/generate": {"inputs": QUESTION, "max_new_tokens": "12"},
    "/zephyr/raw": {"user_message": QUESTION, "max_new_tokens": "8"},
}
SOCKETS = {"/api/v2/generate": "ok", "/zephyr/ws/gpu-stats": "gpus"}
HEADERS: dict[str, Callable[[str], dict[str, str]]] = {
    "bearer": lambda token: {"Authorization": f"Bearer {token}"},
    "api-key": lambda token: {"Authorization": f"Api-Key {token}"},
    "x-api-key": lambda token: {"x-api-key": token},
    "cookie": lambda token: {"Cookie": f"api_host_token={token}"},
}
MODELS: dict[str, Json] = {
    "demo": {"model": "demo"},
    "file": {"model": f"{REPO}/{FILE}"},
    "quant": {"model": f"{REPO}:Q8_0"},
    "repository": {"model": REPO},
    "parts": {"repo_id": REPO, "file_name": FILE},
    "local": {"model": LOCAL},
    "default": {},
}


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AskedHost]:
    with asked_host(tmp_path_factory.mktemp("asked")) as host:
        yield host


def says_paris(answer: requests.Response) -> bool:
    return answer.status_code == 200 and "Paris" in answer.text


@pytest.mark.parametrize("place", HEADERS)
@pytest.mark.parametrize("path", ASKED)
def test_a_token_in_a_header_opens_every_dialect(host: AskedHost, path: str, place: str) -> None:
    assert says_paris(host.post(path, ASKED[path], headers=HEADERS[place](host.token)))
    refused = host.post(path, ASKED[path], headers=HEADERS[place]("not-the-token"))
    assert refused.status_code == (403 if path == "/api" else 401)
    assert "not-the-token" not in refused.text


@pytest.mark.parametrize("path", ASKED)
def test_a_token_in_the_body_opens_every_dialect(host: AskedHost, path: str) -> None:
    assert says_paris(host.post(path, {**ASKED[path], "token": host.token}, headers={}))
    refused = host.post(path, {**ASKED[path], "token": "not-the-token"}, headers={})
    assert refused.status_code == (403 if path == "/api" else 401)


@pytest.mark.parametrize("path", FORMS)
def test_a_token_in_a_form_opens_what_takes_forms(host: AskedHost, path: str) -> None:
    url = host.url + path
    form = FORMS[path]
    assert requests.post(url, data={**form, "token": host.token}, timeout=60).status_code == 200
    assert requests.post(url, data={**form, "token": "not-the-token"}, timeout=60).status_code == 401


@pytest.mark.parametrize("path", ASKED)
def test_an_address_opens_nothing_but_a_handshake(host: AskedHost, path: str) -> None:
    refused = host.post(path, ASKED[path], headers={}, params={"token": host.token})
    assert refused.status_code == (403 if path == "/api" else 401)
    assert host.token not in refused.text


@pytest.mark.parametrize("path", SOCKETS)
def test_a_handshake_takes_the_token_in_its_address_or_a_header(host: AskedHost, path: str) -> None:
    opened = [
        host.socket(f"{path}?token={host.token}"),
        *(
            host.socket(path, header=[f"{name}: {value}" for name, value in header(host.token).items()])
            for header in HEADERS.values()
        ),
    ]
    for line in opened:
        line.send(json.dumps({"type": "open_inference_session", "model": "demo", "max_length": 64}))
        assert SOCKETS[path] in json.loads(line.recv())
        line.close()
    for wrong in (path, f"{path}?token=not-the-token"):
        with pytest.raises(websocket.WebSocketBadStatusException) as refused:
            host.socket(wrong)
        assert refused.value.status_code == 401


def test_health_and_preflights_are_open(host: AskedHost) -> None:
    assert requests.get(f"{host.url}/health", timeout=10).json()["status"] == "ok"
    for path in ASKED:
        preflight = requests.options(host.url + path, headers={"Origin": "https://a.example"}, timeout=10)
        assert preflight.status_code == 204
        assert preflight.headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize("named", MODELS)
@pytest.mark.parametrize("path", ASKED)
def test_every_dialect_takes_a_model_in_every_spelling(host: AskedHost, path: str, named: str) -> None:
    assert says_paris(host.post(path, {**ASKED[path], **MODELS[named]}))


@pytest.mark.parametrize("path", ASKED)
def test_a_model_that_is_nowhere_is_refused_in_every_dialect(host: AskedHost, path: str) -> None:
    missing = host.post(path, {**ASKED[path], "model": "owner/none/a.gguf"})
    assert missing.status_code == (200 if path == "/api/v1/generate" else 404)
    assert "owner/none" in missing.text and "Paris" not in missing.text
    other_file = host.post(path, {**ASKED[path], "repo_id": REPO, "file_name": "other.gguf"})
    assert other_file.status_code == missing.status_code
    assert FILE in other_file.text  # the files that there are
    outside = host.post(path, {**ASKED[path], "model": "../../etc/passwd.gguf"})
    assert outside.status_code == {"/api/v1/generate": 200, "/api/chat": 404}.get(path, 400)
    assert "is not the name of a model" in outside.text


@pytest.mark.parametrize(
    "content_type", ["application/json", "text/plain", "application/x-www-form-urlencoded", None]
)
@pytest.mark.parametrize("path", ASKED)
def test_json_is_read_whatever_its_content_type_says(
    host: AskedHost, path: str, content_type: str | None
) -> None:
    headers = host.bearer if content_type is None else {**host.bearer, "Content-Type": content_type}
    body = json.dumps(ASKED[path]).encode()
    assert says_paris(requests.post(host.url + path, data=body, headers=headers, timeout=60))
