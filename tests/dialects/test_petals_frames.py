"""Petals' inference sessions when something is wrong: frames, tokens, late errors, and clients that go."""

from __future__ import annotations

import json
import socket
import time
from typing import Any

import pytest
import requests
import websocket

from api_host.errors import GenerationFailed, RepoNotFound
from api_host.generation import Accepted, Chunk, Waiting
from api_host.host import ApiHost
from api_host.web.dialects.petals import session
from tests.dialects.petals_chat import ENDLESS, OPEN, PATH, Chat, script, text_of, value
from tests.fakes.pipeline import FakePipeline, Step
from tests.web.site import TOKEN, Site, until


@pytest.mark.parametrize(
    ("frame", "sentence"),
    [
        ("{", "InvalidRequest: the frame is not valid JSON"),
        ("[]", "InvalidRequest: the frame is []; allowed: a JSON object"),
        ({}, "InvalidRequest: type: null is not allowed here; allowed: generate"),
        (
            OPEN,
            'InvalidRequest: type: "open_inference_session" is not allowed here; allowed: generate; a connection',
        ),
        ({"type": ["generate"]}, "InvalidRequest: type: "),
        ({"type": "generate", "inputs": "x"}, "InvalidRequest: max_new_tokens: is missing"),
        ({"type": "generate", "max_new_tokens": 1}, "InvalidRequest: inputs: is missing; the first step"),
        ({"type": "generate", "inputs": 5, "max_new_tokens": 1}, "InvalidRequest: inputs: 5 is not text"),
        (
            {"type": "generate", "inputs": "x", "max_new_tokens": 0},
            "InvalidRequest: max_new_tokens: 0 is too small",
        ),
        (
            {"type": "generate", "inputs": "x", "max_new_tokens": 1, "extra_stop_sequences": ["a"]},
            "InvalidRequest: extra_stop_sequences: needs stop_sequence",
        ),
        (
            {"type": "generate", "inputs": "x", "max_new_tokens": 1, "stop_sequence": ""},
            'InvalidRequest: stop_sequence: "" is too short',
        ),
    ],
)
def test_a_wrong_frame_ends_the_session_and_says_why(fake_chat: Chat, frame: Any, sentence: str) -> None:
    reply = fake_chat.ask(frame)[0]
    assert set(reply) == {"ok", "traceback"}
    assert reply["traceback"].startswith(sentence)
    assert fake_chat.has_ended()


@pytest.mark.parametrize(
    ("opening", "sentence"),
    [
        (
            {"type": "generate"},
            'InvalidRequest: type: "generate" is not allowed here; allowed: open_inference_session',
        ),
        ({"type": None}, "InvalidRequest: type: null"),
        ({"max_length": None}, "InvalidRequest: max_length: null is not a whole number"),
        ({"max_length": 0}, "InvalidRequest: max_length: 0 is too small"),
        ({"model": ""}, "InvalidRequest: model: is empty"),
    ],
)
def test_a_session_begins_with_its_opening(site: Site, opening: dict[str, Any], sentence: str) -> None:
    chat = Chat(site.url, TOKEN, **opening)
    assert chat.opened["traceback"].startswith(sentence)
    assert chat.has_ended()
    assert site.pipeline.loads == []


def test_a_model_that_is_not_there_is_told_at_the_opening(site: Site) -> None:
    site.pipeline.script = lambda request: [Waiting("downloading"), RepoNotFound("model: no such repository")]
    chat = Chat(site.url, TOKEN, model="o/n:Q4")
    assert chat.opened == {"ok": False, "traceback": "RepoNotFound: model: no such repository"}
    assert site.pipeline.loads[0][0] == "o/n:Q4"


def test_no_model_named_is_the_default(site: Site) -> None:
    chat = Chat(site.url, TOKEN, model=None)
    assert chat.opened == {"ok": True}
    chat.step("Hi", max_new_tokens=1)
    assert site.pipeline.requests[0].model is None
    chat.line.close()


@pytest.mark.parametrize("error", [GenerationFailed("it broke"), ZeroDivisionError("secret")])
def test_a_late_error_is_the_last_frame(site: Site, fake_chat: Chat, error: Exception) -> None:
    site.pipeline.script = lambda request: [Accepted("demo", 1), Chunk("a", n_tokens=1), error]
    frames = fake_chat.step("x", max_new_tokens=1, stop_sequence="#")
    assert frames[0]["outputs"] == "a"
    assert frames[1]["traceback"].split(" ")[0] in ("GenerationFailed:", "ApiHostError:")
    assert "secret" not in frames[1]["traceback"]
    assert fake_chat.has_ended()


def test_frames_that_come_during_a_step_wait_for_its_end(site: Site, fake_chat: Chat) -> None:
    site.pipeline.script = lambda request: [0.1, *script(f"1|{request.inputs}")]  # type: ignore[union-attr]
    for text in ("one", "two", "three"):
        fake_chat.say({"type": "generate", "inputs": text, "max_new_tokens": 1})
    assert [text_of(fake_chat.hear()) for _ in range(3)] == ["one", "two", "three"]


def test_an_idle_session_ends(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "IDLE_S", 0.2)
    chat = Chat(site.url, TOKEN)
    assert json.loads(chat.line.recv())["traceback"].startswith("SessionIdle: ")
    assert chat.has_ended()


def test_a_wrong_token_is_a_401_before_the_upgrade(site: Site) -> None:
    with pytest.raises(websocket.WebSocketBadStatusException) as refused:
        Chat(site.url, "no")
    assert refused.value.status_code == 401
    assert json.loads(refused.value.resp_body) == {"ok": False, "traceback": "WrongToken: wrong token"}
    websocket.create_connection(f"ws://127.0.0.1:{site.port}{PATH}?token={TOKEN}", timeout=5).close()


def test_a_step_is_counted_as_any_generation(site: Site, fake_chat: Chat) -> None:
    before = site.get("/metrics").text
    site.pipeline.script = lambda request: script("1|a", "1|b")
    fake_chat.step("x", max_new_tokens=5)
    for line in ('api_host_tokens_total{kind="completion"}', "api_host_time_to_first_token_seconds_count"):
        assert value(site.get("/metrics").text, line) > value(before, line)


@pytest.mark.parametrize("end", ["close", "shut", "reset"])
@pytest.mark.parametrize("steps", [ENDLESS, [60.0]])
def test_a_client_that_goes_frees_its_slot(site: Site, fake_chat: Chat, end: str, steps: list[Step]) -> None:
    site.pipeline.script = lambda request: steps
    fake_chat.say({"type": "generate", "inputs": "x", "max_new_tokens": 1, "stop_sequence": "#"})
    assert until(lambda: bool(site.pipeline.generations))
    sock = fake_chat.line.sock
    if end == "close":
        fake_chat.line.send_close()
    elif end == "shut":
        sock.shutdown(socket.SHUT_RDWR)
    else:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        sock.close()
    assert site.pipeline.generations[0].ended.wait(10)


def test_a_client_that_goes_frees_the_engines_slot(demo_host: ApiHost, chat: Chat) -> None:
    def running() -> float:
        head = {"Authorization": f"Bearer {demo_host.access_token}"}
        text = requests.get(f"{demo_host.local_url}/metrics", headers=head, timeout=5).text
        return value(text, "api_host_running{")

    chat.say(
        {"type": "generate", "inputs": "1 2 3 4", "max_new_tokens": 1, "stop_sequence": "#", "do_sample": 1}
    )
    chat.line.recv()
    chat.line.sock.shutdown(socket.SHUT_RDWR)
    assert until(lambda: running() == 0)


def test_the_end_of_the_host_ends_its_sessions() -> None:
    site = Site(FakePipeline())
    chat = Chat(site.url, TOKEN)
    site.pipeline.script = lambda request: ENDLESS
    chat.say({"type": "generate", "inputs": "x", "max_new_tokens": 1, "stop_sequence": "#"})
    assert json.loads(chat.line.recv())["outputs"] == "x"
    started = time.monotonic()
    site.close()
    assert time.monotonic() - started < 4  # it would wait 5 s for what it has not ended
    assert site.pipeline.generations[-1].ended.is_set()
    chat.line.shutdown()
