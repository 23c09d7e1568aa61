"""Reads the stream of one request to its end."""

from __future__ import annotations

from api_host.engine.messages import Piece, RequestFinished
from api_host.engine.process import Worker
from api_host.engine.request_stream import RequestStream
from api_host.generation import GenerationRequest, Message, SamplingParams


def begin(
    worker: Worker, inputs: str | list[Message], sampling: SamplingParams, chat_format: str | None = None
) -> RequestStream:
    """A request to a worker."""
    return worker.generate(GenerationRequest(inputs, sampling=sampling, chat_format=chat_format))


def read(stream: RequestStream) -> tuple[dict[int, str], RequestFinished]:
    """The text of each choice, and the end."""
    texts: dict[int, str] = {}
    while True:
        event = stream.get(timeout=30)
        match event:
            case Piece():
                texts[event.index] = texts.get(event.index, "") + event.text
            case RequestFinished():
                return texts, event
            case None:
                raise TimeoutError("no event within 30 s")
