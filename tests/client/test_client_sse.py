"""The event decoder against the rules of the HTML standard, however the bytes are cut."""

from __future__ import annotations

import pytest

from api_host_client.sse import EventDecoder, ServerEvent


def decoded(data: bytes, size: int) -> list[ServerEvent]:
    decoder = EventDecoder()
    return [event for at in range(0, len(data), size) for event in decoder.feed(data[at : at + size])]


CASES = [
    (b"data: a\n\n", [ServerEvent("message", "a")]),
    (b"data: a\r\n\r\ndata: b\r\n\r\n", [ServerEvent("message", "a"), ServerEvent("message", "b")]),
    (b"data: a\r\rdata: b\r\r", [ServerEvent("message", "a"), ServerEvent("message", "b")]),
    (b"event: done\ndata: 1\ndata:2\ndata:  3\n\n", [ServerEvent("done", "1\n2\n 3")]),
    (b"event: x\n\ndata: a\n\n", [ServerEvent("message", "a")]),
    (b": comment\n\n:\n\ndata: a\n: inside\n\n", [ServerEvent("message", "a")]),
    (b"data\n\n", [ServerEvent("message", "")]),
    (b"\xef\xbb\xbfdata: a\n\n", [ServerEvent("message", "a")]),
    ("data: ü世🌍\u2028\x0b\n\n".encode(), [ServerEvent("message", "ü世🌍\u2028\x0b")]),
    (b"data: \xff\n\n", [ServerEvent("message", "\ufffd")]),
    (b"id: 1\nretry: 5\nunknown: x\ndata: a\n\n", [ServerEvent("message", "a")]),
    (b"data: a\n\ndata: never ended\n", [ServerEvent("message", "a")]),
]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize(("data", "events"), CASES)
def test_the_same_bytes_are_the_same_events_in_pieces_of_any_size(
    data: bytes, events: list[ServerEvent], size: int
) -> None:
    assert decoded(data, size) == events


@pytest.mark.parametrize("newline", [b"\n", b"\r\n", b"\r"])
def test_an_event_is_out_with_the_byte_that_ends_it(newline: bytes) -> None:
    decoder = EventDecoder()
    assert decoder.feed(b"data: a" + newline) == []
    assert decoder.feed(newline[:1]) == [ServerEvent("message", "a")]


def test_a_long_line_in_many_pieces_is_not_searched_again_and_again() -> None:
    decoder = EventDecoder()
    for _ in range(20_000):
        assert decoder.feed(b"x" * 100) == []
    decoder.feed(b"\ndata: a\n")
    assert decoder.feed(b"\n") == [ServerEvent("message", "a")]
