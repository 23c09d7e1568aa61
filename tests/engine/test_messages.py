"""Frames between host and worker."""

from __future__ import annotations

import socket

import pytest

from api_host.engine.messages import (
    EngineStats,
    FrameReader,
    Generate,
    Piece,
    Step,
    from_worker_decoder,
    send,
    to_worker_decoder,
)
from api_host.generation import GenerationRequest, Message, SamplingParams


def frames_of(message: Generate | Step, size: int) -> list[bytes]:
    """What a reader cuts out of a message that arrives ``size`` bytes at a time."""
    left, right = socket.socketpair()
    with left, right:
        send(left, message)
        left.shutdown(socket.SHUT_WR)
        reader, frames = FrameReader(), []
        while data := right.recv(size):
            frames += reader.feed(data)
        return frames


@pytest.mark.parametrize("size", [1, 7, 1 << 16])
def test_a_request_arrives_as_it_was_sent(size: int):
    sampling = SamplingParams(stop=["世界"], logit_bias={5: -3.0}, seed=2**32 - 2)
    request = GenerationRequest([Message("user", "Grüße 🌍")], sampling=sampling, chat_format="chatml")
    sent = Generate(7, request, 100)
    (frame,) = frames_of(sent, size)
    assert to_worker_decoder.decode(frame) == sent


def test_a_step_arrives_as_it_was_sent():
    sent = Step([Piece(1, 0, "é", 2, "stop")], EngineStats(1, 2, 3, 4))
    (frame,) = frames_of(sent, 3)
    assert from_worker_decoder.decode(frame) == sent


def test_a_frame_that_is_too_large_is_refused_before_it_is_read():
    with pytest.raises(ValueError, match="at most"):
        FrameReader().feed(b"\xff\xff\xff\xff")
