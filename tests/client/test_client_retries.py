"""When a request is sent once more and when never; and why no answer came at all."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from api_host_client import Client
from api_host_client.errors import (
    ClientError,
    ConnectionFailed,
    ConnectionRefused,
    EdgeError,
    EdgeTimeout,
    HostError,
    HostNotFound,
    HostUnreachable,
    QueueFull,
    TimedOut,
    TooManyRequests,
)
from api_host_client.retry import pause_before_retry
from tests.fakes.edge import Edge, chunked, json_reply, raw, text, whole

ANSWER = {"answer": {"role": "assistant", "content": "yes"}}
HEALTHY = {"status": "ok"}


@contextmanager
def held_port() -> Iterator[tuple[socket.socket, str]]:
    """A socket that holds a port at which it does not listen yet, and its URL."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder, f"http://127.0.0.1:{holder.getsockname()[1]}"


def busy(wait: str, status: int = 429) -> Any:
    return json_reply({"error": "full", "code": "queue_full"}, status, Retry_After=wait)


@pytest.mark.parametrize("status", [429, 503])
def test_the_hosts_retry_after_is_waited_for(edge: Edge, client: Client, status: int) -> None:
    edge.answers(busy("1", status), json_reply(ANSWER))
    started = time.monotonic()
    assert client.chat("Hello").text == "yes"
    assert 1.0 <= time.monotonic() - started < 8.0
    assert [seen.body for seen in edge.requests] == [edge.requests[0].body] * 2


def test_a_stream_that_was_refused_is_asked_for_again(edge: Edge, client: Client) -> None:
    edge.answers(busy("0.05"), chunked(text("yes"), content_type="text/event-stream"))
    assert next(client.stream_chat("Hello")).text == "yes"


def test_after_two_retries_the_error_is_raised(edge: Edge, client: Client) -> None:
    edge.answers(*[busy("0.05")] * 5)
    with pytest.raises(QueueFull) as caught:
        client.chat("Hello")
    assert caught.value.retry_after == 0.05
    assert len(edge.requests) == 3


def test_no_retries_means_none(edge: Edge) -> None:
    edge.answers(busy("0.05"))
    with Client(edge.url, retries=0) as client, pytest.raises(QueueFull):
        client.chat("Hello")
    assert len(edge.requests) == 1


@pytest.mark.parametrize("wait", ["31", "3600", "-1", "soon"])
def test_a_wait_that_is_too_long_or_no_time_is_left_to_the_caller(
    edge: Edge, client: Client, wait: str
) -> None:
    edge.answers(busy(wait))
    started = time.monotonic()
    with pytest.raises(QueueFull):
        client.chat("Hello")
    assert time.monotonic() - started < 20
    assert len(edge.requests) == 1


def test_the_edges_own_retry_after_is_waited_for_too(edge: Edge, client: Client) -> None:
    edge.answers(whole("error code: 1015", 429, "text/plain", Retry_After="0.05"), json_reply(ANSWER))
    assert client.chat("Hello").text == "yes"
    edge.answers(whole("error code: 1015", 429, "text/plain", Retry_After="60"))
    with pytest.raises(TooManyRequests):
        client.chat("Hello")


def test_a_get_survives_a_passing_fault_of_the_edge_and_a_post_does_not_repeat(
    edge: Edge, client: Client
) -> None:
    edge.answers(whole("error code: 502", 502, "text/plain"), json_reply(HEALTHY))
    assert client.health().ok
    edge.answers(whole("error code: 502", 502, "text/plain"))
    with pytest.raises(HostUnreachable):
        client.chat("Hello")
    assert [seen.method for seen in edge.requests] == ["GET", "GET", "POST"]


def test_a_post_whose_connection_breaks_is_not_repeated(edge: Edge, client: Client) -> None:
    edge.answers(raw(), json_reply(ANSWER))
    with pytest.raises(ConnectionFailed, match="broke before an answer came") as caught:
        client.chat("Hello")
    assert caught.value.sent
    assert len(edge.requests) == 1


def test_a_refused_connection_is_tried_again_and_then_told() -> None:
    started = time.monotonic()
    with held_port() as (_, url), Client(url) as client, pytest.raises(ConnectionRefused) as caught:
        client.chat("Hello")
    assert 1.4 < time.monotonic() - started < 8
    assert not caught.value.sent


def test_a_host_that_comes_up_in_between_is_reached() -> None:
    with held_port() as (holder, url), Edge([json_reply(ANSWER)]) as late, Client(url) as client:
        late._listener.close()

        def come_up() -> None:
            holder.listen()
            late._listener = holder
            late._start(late._accept)

        timer = threading.Timer(0.3, come_up)
        timer.start()
        assert client.chat("Hello").text == "yes"
        timer.join()


def test_an_unknown_name_says_to_compare_the_url(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    client = Client("http://gone.trycloudflare.invalid", retries=0)
    with pytest.raises(HostNotFound, match=r"gone\.trycloudflare\.invalid is not known") as caught:
        client.chat("Hello")
    assert not caught.value.sent


def test_a_server_without_tls_is_told_apart(edge: Edge) -> None:
    edge.answers(raw(b"plain"))
    with Client(edge.url.replace("http:", "https:")) as client, pytest.raises(ConnectionFailed, match="TLS"):
        client.health()


def test_closing_the_client_ends_a_pause_between_retries(edge: Edge) -> None:
    edge.answers(busy("20"))
    client = Client(edge.url)
    threading.Timer(0.3, client.close).start()
    started = time.monotonic()
    with pytest.raises(ConnectionFailed, match="closed"):
        client.chat("Hello")
    assert time.monotonic() - started < 15


def test_a_proxy_of_the_environment_is_not_asked_for_a_host_on_this_machine(
    edge: Edge, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    with held_port() as (_, url):
        monkeypatch.setenv("HTTP_PROXY", url)
        monkeypatch.setenv("http_proxy", url)
        edge.answers(json_reply(HEALTHY))
        assert client.health().ok


@pytest.mark.parametrize(
    ("error", "method", "attempt", "waited", "pause"),
    [
        (ConnectionRefused(sent=False), "POST", 0, 0.0, 0.5),
        (ConnectionRefused(sent=False), "POST", 1, 0.5, 1.0),
        (HostNotFound(sent=False), "GET", 0, 0.0, 0.5),
        (ConnectionFailed(sent=True), "GET", 0, 0.0, None),
        (TimedOut(sent=False), "GET", 0, 0.0, None),
        (HostError(status=429, retry_after=20.0), "POST", 0, 0.0, 20.0),
        (HostError(status=429, retry_after=20.0), "POST", 1, 20.0, None),
        (HostError(status=503), "POST", 0, 0.0, None),
        (HostError(status=500, retry_after=1.0), "GET", 0, 0.0, None),
        *[(EdgeError(status=status), "GET", 0, 0.0, 0.5) for status in (502, 520, 521, 522, 523, 530)],
        *[(EdgeError(status=status), "POST", 0, 0.0, None) for status in (502, 520, 521, 522, 523, 530)],
        (EdgeTimeout(status=524), "GET", 0, 0.0, None),
        (EdgeError(status=525), "GET", 0, 0.0, None),
    ],
)
def test_only_what_is_safe_is_sent_again(
    error: ClientError, method: str, attempt: int, waited: float, pause: float | None
) -> None:
    assert pause_before_retry(error, method, attempt, waited) == pause
