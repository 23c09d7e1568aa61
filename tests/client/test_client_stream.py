"""Streamed answers: chunks as they come, what ends them, and what is left when they are cut."""

from __future__ import annotations

import threading
import time

import pytest

from api_host_client import Chunk, Client, Stream, StreamCut, Waiting
from api_host_client.errors import AnswerCut, EmptyAnswer, NotAnAnswer, QueueFull, WorkerDied
from tests.fakes.edge import DONE, Edge, UntilGone, chunked, event, events, json_reply, raw, text, whole


def test_chunks_come_one_by_one_and_the_end_tells_the_rest(edge: Edge, client: Client) -> None:
    edge.answers(events(text("Hel"), text("lo"), text("", 0, "stop"), DONE))
    stream = client.stream_chat("Hello", max_tokens=3)
    assert isinstance(stream, Stream)
    assert (stream.usage, stream.timings, stream.model) == (None, None, None)
    assert list(stream) == [Chunk("Hel"), Chunk("lo"), Chunk("", 0, "stop")]
    assert stream.usage is not None
    assert stream.timings is not None
    assert (stream.usage.total_tokens, stream.timings.decode, stream.model) == (5, 0.2, "demo")
    assert (stream.finish_reason, stream.text) == ("stop", "Hello")
    assert list(stream) == []
    assert edge.requests[0].json["stream"] is True
    assert edge.requests[0].headers["Accept"] == "text/event-stream"


def test_a_completion_streams_too_and_folds_into_an_answer(edge: Edge, client: Client) -> None:
    edge.answers(events(text("a"), text("x", 1), text("b", 0, "stop"), text("y", 1, "length"), DONE))
    answer = client.stream("A cat", n=2).answer()
    assert (answer.text, answer.model, answer.usage.prompt_tokens) == ("ab", "demo", 3)
    assert [(c.text, c.finish_reason) for c in answer.choices] == [("ab", "stop"), ("xy", "length")]
    assert edge.requests[0].json["inputs"] == "A cat"


@pytest.mark.parametrize("framing", ["chunked", "until the connection closes"])
def test_a_chunk_is_there_before_the_next_one_is_written(edge: Edge, client: Client, framing: str) -> None:
    got_first = threading.Event()
    pieces = [text("first"), got_first, text("second"), DONE]
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
    edge.answers(events(*pieces) if framing == "chunked" else raw(head, *pieces))
    stream = client.stream_chat("Hello")
    started = time.monotonic()
    assert next(stream).text == "first"
    assert time.monotonic() - started < 8, "the server waits up to 10 s for this chunk to be read"
    got_first.set()
    assert [chunk.text for chunk in stream] == ["second"]


def test_characters_survive_a_network_that_cuts_anywhere(edge: Edge, client: Client) -> None:
    sentence = "Grüße 世界 🌍 e\u0301 \u2028 ok"
    data = b": hi\r\n\r\n" + text(sentence).replace(b"\n", b"\r\n") + DONE
    edge.answers(events(*[data[i : i + 1] for i in range(len(data))]))
    assert client.stream_chat("Hello").answer().text == sentence


def test_comments_and_events_from_a_later_host_are_passed_over(edge: Edge, client: Client) -> None:
    edge.answers(
        events(b": downloading 12%\n\n", b":\n\n", event([1], "news"), text("a"), b"id: 3\n\n", DONE)
    )
    assert [chunk.text for chunk in client.stream_chat("Hello")] == ["a"]


def test_waiting_is_told_while_a_model_is_fetched(edge: Edge, client: Client) -> None:
    progress = {"file": "a.gguf", "bytes_done": 5, "bytes_total": 20, "resumed": 0}
    edge.answers(
        events(
            event({"status": "downloading", "progress": progress}, "status"),
            event({"status": "loading", "progress": {}}, "status"),
            text("a"),
            DONE,
        )
    )
    told: list[Waiting] = []
    stream = client.stream_chat("Hello", on_waiting=told.append)
    assert stream.answer().text == "a"
    assert [waiting.status for waiting in told] == ["downloading", "loading"]
    assert told[0].progress is not None
    assert (told[0].progress.file, told[0].progress.fraction) == ("a.gguf", 0.25)
    assert stream.waiting == Waiting("loading", None)


@pytest.mark.parametrize("end", [True, False], ids=["ended in form", "connection lost"])
def test_a_stream_without_a_last_event_is_cut_and_keeps_its_text(
    edge: Edge, client: Client, end: bool
) -> None:
    edge.answers(events(text("Hel"), text("lo"), text("other", 1), b'data: {"text": "lost"', end=end))
    stream = client.stream_chat("Hello")
    seen: list[str] = []
    with pytest.raises(StreamCut) as caught:
        seen.extend(chunk.text for chunk in stream)
    assert (caught.value.text, caught.value.texts) == ("Hello", {0: "Hello", 1: "other"})
    assert stream.text == "Hello"
    assert list(stream) == []
    assert len(edge.requests) == 1


def test_a_stream_that_is_cut_inside_a_network_chunk_is_cut(edge: Edge, client: Client) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    edge.answers(raw(head + b"ff\r\n" + text("Hel")))
    with pytest.raises(StreamCut):
        client.stream_chat("Hello").answer()


def test_a_stream_with_nothing_in_it_is_cut(edge: Edge, client: Client) -> None:
    edge.answers(events())
    with pytest.raises(StreamCut) as caught:
        next(client.stream_chat("Hello"))
    assert caught.value.text == ""


@pytest.mark.parametrize(
    "data",
    [
        *(b"data: {broken\n\n", b"data: [1]\n\n", b"event: done\ndata: nothing\n\n"),
        *(event({"text": 5}), event({"text": "b", "index": []}), event({"text": "b", "index": "0"})),
        event({"text": "b", "finish_reason": {}}),
    ],
)
def test_a_broken_event_cuts_the_stream(edge: Edge, client: Client, data: bytes) -> None:
    edge.answers(events(text("a"), data, DONE))
    with pytest.raises(StreamCut) as caught:
        client.stream_chat("Hello").answer()
    assert caught.value.text == "a"


def test_a_late_error_is_the_hosts_error(edge: Edge, client: Client) -> None:
    late = {"error": "the worker ended", "code": "worker_died", "status": 503, "stderr": "boom"}
    edge.answers(events(text("a"), event(late, "error")))
    stream = client.stream_chat("Hello")
    assert next(stream).text == "a"
    with pytest.raises(WorkerDied) as caught:
        next(stream)
    assert (caught.value.status, caught.value.stderr, stream.text) == (503, "boom", "a")


def test_an_error_before_the_stream_is_raised_by_the_call(edge: Edge, client: Client) -> None:
    edge.answers(json_reply({"error": "full", "code": "queue_full", "limit": 2}, 429))
    with pytest.raises(QueueFull) as caught:
        client.stream_chat("Hello")
    assert caught.value.details == {"limit": 2}


def test_what_is_no_stream_is_an_error_of_its_own(edge: Edge, client: Client) -> None:
    edge.answers(
        whole("", 200, "application/json"),
        json_reply({"answer": {"role": "assistant", "content": "whole"}}),
        chunked(b" ", b'{"error": "late", "code": "worker_died", "status": 503}'),
    )
    for kind in (EmptyAnswer, NotAnAnswer, WorkerDied):
        with pytest.raises(kind):
            client.stream_chat("Hello")


def test_silence_inside_a_stream_cuts_it_after_the_read_timeout(edge: Edge) -> None:
    edge.answers(events(text("a"), UntilGone))
    with (
        Client(edge.url, timeout=1.0) as client,
        pytest.raises(StreamCut, match="within the timeout") as caught,
    ):
        client.stream_chat("Hello").answer()
    assert caught.value.text == "a"
    assert edge.gone.wait(8)


def test_leaving_the_loop_hangs_up(edge: Edge, client: Client) -> None:
    edge.answers(events(text("a"), UntilGone))
    for _ in client.stream_chat("Hello"):
        break
    assert edge.gone.wait(8)


def test_leaving_the_with_block_hangs_up(edge: Edge, client: Client) -> None:
    edge.answers(events(text("a"), UntilGone))
    with client.stream_chat("Hello") as stream:
        next(stream)
    assert edge.gone.wait(8)
    assert list(stream) == []


def test_closing_from_another_thread_ends_a_waiting_loop_at_once(edge: Edge, client: Client) -> None:
    edge.answers(events(text("a"), UntilGone))
    stream = client.stream_chat("Hello")
    next(stream)
    threading.Timer(0.2, stream.close).start()
    started = time.monotonic()
    assert list(stream) == []
    assert time.monotonic() - started < 8
    assert edge.gone.wait(8)


def test_finished_streams_share_a_connection(edge: Edge, client: Client) -> None:
    edge.answers(*[events(text("a"), DONE)] * 3)
    for _ in range(3):
        client.stream_chat("Hello").answer()
    assert [seen.connection for seen in edge.requests] == [0, 0, 0]


def test_an_edge_that_holds_the_connection_after_the_end_is_not_waited_for(
    edge: Edge, client: Client
) -> None:
    edge.answers(events(text("a"), DONE, UntilGone))
    started = time.monotonic()
    assert client.stream_chat("Hello").answer().text == "a"
    assert time.monotonic() - started < 8
    assert edge.gone.wait(8)


@pytest.mark.parametrize("size", [b"-53", b"7fffffffffffffff", b"f" * 20])
def test_a_chunk_of_an_impossible_size_is_a_cut(edge: Edge, client: Client, size: bytes) -> None:
    for kind in (b"text/event-stream", b"application/json"):
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: %b\r\n\r\n" % kind
        first = text("so far")
        edge.answers(raw(head, b"%x\r\n%b\r\n" % (len(first), first), size + b"\r\n" + DONE))
    with pytest.raises(StreamCut) as caught:
        client.stream_chat("Hello").answer()
    assert caught.value.text == "so far"
    with pytest.raises(AnswerCut):
        client.chat("Hello")
