"""Plain answers: what is asked on the wire, and what is made of good, padded, empty and broken bodies."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
import requests

from api_host_client import Answer, Client, __version__
from api_host_client.errors import AnswerCut, BadArgument, EmptyAnswer, NotAnAnswer, TimedOut, WorkerDied
from tests.fakes.edge import Edge, chunked, json_reply, raw, whole

ANSWER: dict[str, Any] = {
    "answer": {"role": "assistant", "content": "Grüße, 世界 🌍"},
    "model": "demo",
    "usage": {"prompt_tokens": 7, "completion_tokens": 3, "cached_tokens": 2, "total_tokens": 10},
    "timings": {"queued": 0.1, "prefill": 0.2, "decode": 0.3, "tokens_per_second": 10.0},
    "finish_reason": "stop",
    "something_new": {"of": "a later host"},
}


def test_a_chat_is_one_post_and_its_answer_is_typed(edge: Edge, client: Client) -> None:
    edge.answers(json_reply(ANSWER))
    answer = client.chat("Hello")
    assert str(answer) == answer.text == answer.content == "Grüße, 世界 🌍"
    assert (answer.role, answer.model, answer.finish_reason) == ("assistant", "demo", "stop")
    assert (answer.usage.total_tokens, answer.usage.cached_tokens) == (10, 2)
    assert (answer.timings.queued, answer.timings.tokens_per_second) == (0.1, 10.0)
    assert [choice.text for choice in answer.choices] == [answer.text]
    assert (edge.requests[0].method, edge.requests[0].path) == ("POST", "/api")
    assert edge.requests[0].json == {
        "inputs": [{"role": "user", "content": "Hello"}],
        "parameters": {},
        "options": {},
        "stream": False,
    }


def test_settings_go_where_the_contract_has_them(edge: Edge, client: Client) -> None:
    edge.answers(json_reply(ANSWER))
    client.chat(
        [{"role": "user", "content": "Hi"}],
        repo_id="owner/name",
        file_name="a.gguf",
        system="Be short.",
        use_gpu=False,
        ctx_length=512,
        chat_format="chatml",
        max_tokens=5,
        seed=0,
        top_p=None,
        logit_bias={7: -1.5},
        stop="END",
    )
    assert edge.requests[0].json == {
        "repo_id": "owner/name",
        "file_name": "a.gguf",
        "inputs": [{"role": "system", "content": "Be short."}, {"role": "user", "content": "Hi"}],
        "parameters": {"max_tokens": 5, "seed": 0, "logit_bias": {"7": -1.5}, "stop": ["END"]},
        "options": {"use_gpu": False, "ctx_length": 512, "chat_format": "chatml"},
        "stream": False,
    }


def test_a_completion_sends_its_text_and_names_the_clients_model(edge: Edge) -> None:
    edge.answers(json_reply(ANSWER), json_reply(ANSWER), json_reply(ANSWER))
    with Client(edge.url, model="demo") as client:
        client.complete("A cat sat on")
        client.complete("A cat sat on", model="other")
        client.complete("A cat sat on", repo_id="o/n", file_name="f.gguf")
    assert edge.requests[0].json["inputs"] == "A cat sat on"
    assert [seen.json.get("model") for seen in edge.requests] == ["demo", "other", None]


def test_an_answer_is_the_assistants_turn_of_the_next_question(edge: Edge, client: Client) -> None:
    edge.answers(json_reply(ANSWER), json_reply(ANSWER))
    first = client.chat("One?")
    client.chat([{"role": "user", "content": "One?"}, first, {"role": "user", "content": "Two?"}])
    assert edge.requests[1].json["inputs"][1] == {"role": "assistant", "content": first.text}


def test_several_answers_are_all_in_choices(edge: Edge, client: Client) -> None:
    answers = [{"content": "a", "finish_reason": "stop"}, {"content": "b", "finish_reason": "length"}]
    edge.answers(json_reply({**ANSWER, "answer": {"role": "assistant", "content": "a"}, "answers": answers}))
    answer = client.chat("Hello", n=2)
    assert [(c.index, c.text, c.finish_reason) for c in answer.choices] == [
        (0, "a", "stop"),
        (1, "b", "length"),
    ]
    assert answer.text == "a"


def test_an_answer_without_a_word_is_still_an_answer(edge: Edge, client: Client) -> None:
    edge.answers(json_reply({**ANSWER, "answer": {"role": "assistant", "content": ""}, "usage": None}))
    assert client.chat("Hello").text == ""


@pytest.mark.parametrize("ending", ["", "/", "/api", "/api/", "  "])
def test_the_url_may_end_as_it_likes(edge: Edge, ending: str) -> None:
    edge.answers(json_reply({"status": "ok", "version": "1"}), json_reply(ANSWER))
    with Client(edge.url + ending) as client:
        assert client.health().ok
        client.chat("Hello")
    assert [seen.path for seen in edge.requests] == ["/health", "/api"]


def test_a_path_before_the_api_is_kept_and_a_scheme_is_found() -> None:
    assert Client("https://lab.example/proxy/5000/api").url == "https://lab.example/proxy/5000"
    assert Client("name.trycloudflare.com").url == "https://name.trycloudflare.com"
    assert Client("127.0.0.1:5000/").url == "http://127.0.0.1:5000"
    assert Client("localhost:5000").url == "http://localhost:5000"
    assert Client("[::1]:5000").url == "http://[::1]:5000"


@pytest.mark.parametrize("url", ["", "ftp://host", "https://", "https://host/?token=T", "https://u:p@host"])
def test_what_cannot_be_an_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="url:"):
        Client(url)


def test_every_request_names_this_client_and_carries_the_token_in_a_header(
    edge: Edge, client: Client
) -> None:
    edge.answers(json_reply({"status": "ok"}), json_reply(ANSWER))
    client.health()
    client.chat("Hello")
    for seen in edge.requests:
        assert (
            seen.headers["User-Agent"]
            == f"api-host-client/{__version__} (python-requests/{requests.__version__})"
        )
        assert seen.headers["Authorization"] == "Bearer secret-token/with+signs"


def test_one_connection_serves_many_requests_and_each_thread_has_its_own(edge: Edge, client: Client) -> None:
    edge.answers(*[json_reply(ANSWER)] * 4)
    client.chat("1")
    client.chat("2")
    thread = threading.Thread(target=client.chat, args=("3",))
    thread.start()
    thread.join()
    client.chat("4")
    assert [seen.connection for seen in edge.requests] == [0, 0, 1, 0]


def test_a_padded_answer_is_read_however_slowly_it_comes(edge: Edge) -> None:
    body = b'{"answer": {"role": "assistant", "content": "late"}}'
    pauses = [threading.Event() for _ in range(4)]
    edge.answers(
        chunked(b" ", pauses[0], b" \n ", pauses[1], b" ", pauses[2], body[:20], pauses[3], body[20:])
    )

    def release() -> None:
        for pause in pauses:
            time.sleep(0.6)
            pause.set()

    thread = threading.Thread(target=release)
    thread.start()
    with Client(edge.url, timeout=2.0) as client:  # less than the whole takes, more than each gap
        assert client.chat("Hello").text == "late"
    thread.join()


def test_a_late_error_after_padding_is_raised_as_its_status_would_be(edge: Edge, client: Client) -> None:
    late = b'{"error": "the worker ended", "code": "worker_died", "status": 503, "stderr": "boom", "retry_after": 1}'
    edge.answers(chunked(b"  ", b" ", late))
    with pytest.raises(WorkerDied, match="the worker ended") as caught:
        client.chat("Hello")
    assert (caught.value.status, caught.value.stderr, caught.value.retry_after) == (503, "boom", 1.0)
    assert len(edge.requests) == 1, "once an answer has begun, nothing is repeated"


@pytest.mark.parametrize("body", [b"", b"   ", b"\n \r\n"])
def test_a_200_without_anything_in_it_is_an_error(edge: Edge, client: Client, body: bytes) -> None:
    edge.answers(whole(body, 200, "application/json"))
    with pytest.raises(EmptyAnswer):
        client.chat("Hello")


def test_a_200_that_is_cut_inside_its_padding_is_an_error(edge: Edge, client: Client) -> None:
    edge.answers(chunked(end=False), chunked(b"  ", b" ", end=False))
    for _ in range(2):
        with pytest.raises(AnswerCut):
            client.chat("Hello")


def test_json_that_is_cut_inside_is_an_error(edge: Edge, client: Client) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
    edge.answers(
        whole('{"answer": {"role": "assistant", "con', 200, "application/json"),
        raw(head + b'Content-Length: 900\r\n\r\n{"answer": {"role": "assis'),
        chunked(b' {"answer": {"role"', end=False),
        raw(head + b'Connection: close\r\n\r\n{"answer": "\xc3'),
    )
    for _ in range(4):
        with pytest.raises(AnswerCut):
            client.chat("Hello")


@pytest.mark.parametrize(
    "body", [{}, [], "text", 3, {"answer": None}, {"answer": {"role": "assistant"}}, {"answers": 1}]
)
def test_json_of_another_shape_is_no_answer(edge: Edge, client: Client, body: Any) -> None:
    edge.answers(json_reply(body))
    with pytest.raises(NotAnAnswer):
        client.chat("Hello")


def test_silence_ends_with_the_read_timeout_before_and_inside_a_body(edge: Edge) -> None:
    never = threading.Event()
    edge.answers(raw(never), chunked(b" ", never))
    with Client(edge.url, timeout=1.0) as client:
        for _ in range(2):
            with pytest.raises(TimedOut) as caught:
                client.chat("Hello")
            assert caught.value.sent
    never.set()
    assert len(edge.requests) == 2, "a generation that may be running is not asked for twice"


def test_embeddings_of_one_text_and_of_several(edge: Edge, client: Client) -> None:
    edge.answers(json_reply({"embeddings": [[1.0, 2.0]]}), json_reply({"embeddings": [[1.0], [2.0]]}))
    assert client.embed("a") == [1.0, 2.0]
    assert client.embed(["a", "b"], model="demo") == [[1.0], [2.0]]
    assert edge.requests[0].json == {"task": "embedding", "inputs": "a"}
    assert edge.requests[1].json == {"task": "embedding", "model": "demo", "inputs": ["a", "b"]}


def test_embeddings_that_do_not_match_the_texts_are_no_answer(edge: Edge, client: Client) -> None:
    edge.answers(json_reply({"embeddings": [[1.0]]}), json_reply({"vectors": []}))
    for _ in range(2):
        with pytest.raises(NotAnAnswer):
            client.embed(["a", "b"])


def test_the_environment_can_name_the_host(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    edge.answers(json_reply(ANSWER))
    monkeypatch.setenv("API_HOST_URL", edge.url)
    monkeypatch.setenv("API_HOST_TOKEN", "from-the-environment")
    with Client.from_env(model="demo") as client:
        assert isinstance(client.chat("Hello"), Answer)
    assert edge.requests[0].headers["Authorization"] == "Bearer from-the-environment"
    monkeypatch.delenv("API_HOST_URL")
    with pytest.raises(ValueError, match="API_HOST_URL"):
        Client.from_env()


def test_two_ways_to_name_a_model_or_to_give_a_system_turn_are_refused_before_anything_is_sent(
    edge: Edge, client: Client
) -> None:
    with pytest.raises(BadArgument, match="model:"):
        client.chat("Hello", model="demo", repo_id="owner/name")
    with pytest.raises(BadArgument, match="system:"):
        client.chat([{"role": "system", "content": "a"}], system="b")
    assert edge.requests == []
