"""The Zephyr API of a whole host with the demo model."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from api_host.host import ApiHost

FRANCE = {"user_message": "What is the capital of France?", "do_sample": False}


def post(host: ApiHost, path: str, body: Any = None, **arguments: Any) -> requests.Response:
    headers = {"Authorization": f"Bearer {host.access_token}"}
    return requests.post(
        f"{host.local_url}/zephyr/{path}", json=body, headers=headers, timeout=60, **arguments
    )


def text(response: requests.Response) -> str:
    assert response.status_code == 200, response.text
    assert list(response.json()) == ["response"]
    return str(response.json()["response"])


def test_questions_are_answered(demo_host: ApiHost) -> None:
    assert text(post(demo_host, "python", FRANCE)).strip() == "The capital of France is Paris."
    described = {**FRANCE, "system_message": "You are a friendly chatbot."}
    assert "Paris" in text(post(demo_host, "system-message", described))


def test_raw_shows_the_whole_prompt_with_its_template_tokens(demo_host: ApiHost) -> None:
    params = {"user_message": "What is the capital of Italy?", "do_sample": "false"}
    answered = text(post(demo_host, "raw", params=params))
    prompt, user, answer = answered.partition("What is the capital of Italy?")
    assert user
    assert "Python developer" in prompt
    assert "<|" in prompt
    assert "<|" in answer
    assert "Rome" in answer
    assert "<|" not in text(post(demo_host, "python", FRANCE))


def test_a_named_format_takes_the_place_of_the_models_own(demo_host: ApiHost) -> None:
    answered = text(post(demo_host, "raw", {**FRANCE, "chat_format": "zephyr", "max_new_tokens": 4}))
    assert answered.startswith("<|system|>\n")
    _, _, turn = answered.partition("</s>\n<|user|>\n")
    assert turn.strip().startswith("What is the capital of France?</s>\n<|assistant|>\n")


def test_an_answer_ends_at_its_limit(demo_host: ApiHost) -> None:
    short = text(post(demo_host, "python", {**FRANCE, "max_new_tokens": 2}))
    assert 0 < len(short) < len("The capital of France is Paris.")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("code-doc", {"code": "def f( a ):\n  return a", "max_new_tokens": 16}),
        ("structured-code-doc", {"user_message": "def f(a): return a", "max_new_tokens": 16}),
    ],
)
def test_documentation_is_written(demo_host: ApiHost, path: str, body: dict[str, Any]) -> None:
    assert text(post(demo_host, path, body))


def test_a_question_that_is_too_long_is_refused_in_its_own_words(demo_host: ApiHost) -> None:
    response = post(demo_host, "code-doc", {"code": "x = 1\n" * 4000, "language": "text"})
    assert response.status_code == 400
    body = response.json()
    assert body["detail"].startswith("code: ")
    assert body["code"] == "context_length_exceeded"
    assert body["n_prompt_tokens"] > body["n_ctx"]


def test_an_unknown_format_is_refused_with_those_there_are(demo_host: ApiHost) -> None:
    response = post(demo_host, "python", {**FRANCE, "chat_format": "nothing"})
    assert response.status_code == 400
    assert response.json()["detail"].startswith("chat_format: 'nothing' is not known; known are ")


def test_eight_clients_at_once_get_right_answers(demo_host: ApiHost) -> None:
    with ThreadPoolExecutor(8) as clients:
        answers = list(clients.map(lambda _: text(post(demo_host, "python", FRANCE)), range(8)))
    assert all("Paris" in answer for answer in answers)
