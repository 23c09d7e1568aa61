"""A client that goes frees its slot, whatever dialect it speaks and however its answer comes."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest
import websocket

from api_host.host import ApiHost
from tests.dialects.petals_chat import Chat
from tests.fakes.asking import completion_tokens, model_of, within

CHAT = [{"role": "user", "content": "Tell me of a cat"}]
TEXT = "A cat sat on"
MANY = 100_000
ON = {"max_tokens": MANY, "ignore_eos": True}
# Drawn from nearly all tokens alike, with those preferred that were there before, a text fills the context.
HOT = {"temperature": 10, "top_p": 1, "top_k": 0}
ENDLESS = {**HOT, "repeat_penalty": 0.1}

STREAMED = {
    "/api": {"inputs": TEXT, "parameters": ON, "stream": True},
    "/v1/chat/completions": {"messages": CHAT, **ON, "stream": True},
    "/v1/completions": {"prompt": TEXT, **ON, "stream": True},
    "/v1/responses": {"input": TEXT, "max_output_tokens": MANY, "ignore_eos": True, "stream": True},
    "/v1/messages": {"messages": CHAT, **ON, "stream": True},
    # The end of a turn stands in its prompt, and would be preferred too.
    "/api/chat": {"messages": CHAT, "options": {"num_predict": -1, **HOT}},
    "/api/generate": {"prompt": TEXT, "raw": True, "options": {"num_predict": -1, **ENDLESS}},
    "/predict": {"messages": CHAT, "max_new_tokens": MANY, "min_new_tokens": MANY},
    "/agenerate": {"prompt": TEXT, "params": {"n_predict": MANY, **ENDLESS}},
}
PLAIN = {
    "/api": {**STREAMED["/api"], "stream": False},
    "/v1/chat/completions": {**STREAMED["/v1/chat/completions"], "stream": False},
    "/v1/completions": {**STREAMED["/v1/completions"], "stream": False},
    "/v1/responses": {**STREAMED["/v1/responses"], "stream": False},
    "/v1/messages": {**STREAMED["/v1/messages"], "stream": False},
    "/api/chat": {**STREAMED["/api/chat"], "stream": False},
    "/api/v1/generate": {
        "inputs": TEXT,
        "max_new_tokens": MANY,
        "do_sample": 1,
        "repetition_penalty": 0.1,
        **HOT,
    },
    "/predict": {**STREAMED["/predict"], "stream": False},
    "/generate": STREAMED["/agenerate"],
    # It has no such penalty; of the first seeds, this one gives the longest text.
    "/zephyr/python": {"user_message": TEXT, "max_new_tokens": MANY, "seed": 3, **HOT},
}


def running(host: ApiHost) -> int:
    return int(model_of(host, "demo").get("n_running") or 0)


def begin(host: ApiHost, path: str, body: dict[str, Any]) -> socket.socket:
    """Sends a request and reads nothing."""
    content = json.dumps({"token": host.access_token, **body}).encode()
    client = socket.create_connection(("127.0.0.1", int(host.local_url.rpartition(":")[2])), timeout=10)
    client.sendall(
        f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content
    )
    return client


def is_cut(host: ApiHost, cut: Callable[[], bool]) -> bool:
    """Whether a generation that ``cut`` begins and leaves is over soon, and has not run to its end.

    A drawn text may end by itself before ``cut`` has seen it run, or just then: that says nothing, and it begins anew.
    """
    for _ in range(4):
        before = completion_tokens(host)
        seen_running = cut()
        assert within(10, lambda: running(host) == 0)
        if seen_running and completion_tokens(host) == before:
            return True
    return False


@pytest.mark.parametrize("path", STREAMED)
def test_a_stream_that_its_client_cuts_frees_its_slot(demo_host: ApiHost, path: str) -> None:
    def cut() -> bool:
        with begin(demo_host, path, STREAMED[path]) as client:
            head = client.recv(4096)
            assert head.startswith(b"HTTP/1.1 200"), head
            return within(2, lambda: running(demo_host) == 1)

    assert is_cut(demo_host, cut)


@pytest.mark.parametrize("path", PLAIN)
def test_a_client_that_goes_before_its_plain_answer_frees_its_slot(demo_host: ApiHost, path: str) -> None:
    def cut() -> bool:
        with begin(demo_host, path, PLAIN[path]):
            return within(2, lambda: running(demo_host) == 1)

    assert is_cut(demo_host, cut)


@pytest.mark.parametrize("how", ["cut", "closed"])
def test_a_session_whose_socket_ends_frees_its_slot(demo_host: ApiHost, how: str) -> None:
    step = {"inputs": TEXT, "max_new_tokens": 1, "stop_sequence": "\x00\x01", "do_sample": 1}

    def cut() -> bool:
        chat = Chat(demo_host.local_url, str(demo_host.access_token), max_length=2000)
        chat.say({"type": "generate", **step, "repetition_penalty": 0.1, **HOT})
        chat.line.recv()
        seen_running = within(2, lambda: running(demo_host) == 1)
        if how == "cut":
            chat.line.sock.close()
        else:
            chat.line.close(timeout=1)
        return seen_running

    assert is_cut(demo_host, cut)


def test_watching_the_gpus_ends_with_its_socket(demo_host: ApiHost) -> None:
    """As often as there are sockets: each one that stayed open would take a place."""
    address = demo_host.local_url.replace("http", "ws", 1) + "/zephyr/ws/gpu-stats"
    for _ in range(40):
        line = websocket.create_connection(f"{address}?token={demo_host.access_token}", timeout=10)
        assert json.loads(line.recv()).keys() == {"gpus"}
        line.sock.close()
        time.sleep(0.01)
