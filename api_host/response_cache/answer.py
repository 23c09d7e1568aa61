"""A whole answer as it is kept: the events of a generation, mostly each choice's text in one piece.

Knows nothing of where it is kept. Packed with msgspec, as MessagePack.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import msgspec

from api_host.generation import Accepted, Chunk, Event, Finished, GenerationRequest, Timings


@dataclass
class KeptAnswer:
    """The events, in their order; ``chunks`` has one for each choice, or all as they came."""

    accepted: Accepted
    chunks: list[Chunk]
    finished: Finished

    def pack(self) -> bytes:
        return msgspec.msgpack.encode(self)


_decoder = msgspec.msgpack.Decoder(KeptAnswer)


def unpack(packed: bytes) -> KeptAnswer | None:
    """The answer that ``pack`` has packed; None for any other bytes, such as those of another version."""
    try:
        return _decoder.decode(packed)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def is_cut_short(answer: KeptAnswer, request: GenerationRequest) -> bool:
    """Whether the context that the model happened to have ended it, before any limit of the request's own."""
    n_prompt = answer.accepted.n_prompt_tokens
    limits = (n_prompt + request.sampling.max_tokens, request.sampling.max_length, request.options.ctx_length)
    wanted = min(limit for limit in limits if limit is not None) - n_prompt
    n_tokens: Counter[int] = Counter()
    for chunk in answer.chunks:
        n_tokens[chunk.index] += chunk.n_tokens
    return any(chunk.finish_reason == "length" and n_tokens[chunk.index] < wanted for chunk in answer.chunks)


class Fold:
    """Gathers the events of a generation as they pass.

    Args:
        in_pieces: whether the chunks stay as they come.
    """

    def __init__(self, in_pieces: bool = False) -> None:
        self._in_pieces = in_pieces
        self._pieces: list[Chunk] = []
        self._accepted: Accepted | None = None
        self._chunks: dict[int, Chunk] = {}
        self._texts: dict[int, list[str]] = {}

    def take(self, event: Event) -> None:
        if isinstance(event, Accepted):
            self._accepted = event
        elif isinstance(event, Chunk):
            if self._in_pieces:
                self._pieces.append(event)
            whole = self._chunks.setdefault(event.index, Chunk("", event.index))
            self._texts.setdefault(event.index, []).append(event.text)
            whole.n_tokens += event.n_tokens
            whole.finish_reason = event.finish_reason or whole.finish_reason
            if event.logprobs is not None:
                whole.logprobs = [*(whole.logprobs or ()), *event.logprobs]

    def whole(self, finished: Finished) -> KeptAnswer | None:
        """The answer, when ``finished`` has ended it; None for one that lacks something."""
        chunks = [self._chunks[index] for index in sorted(self._chunks)]
        if self._accepted is None or any(chunk.finish_reason not in ("stop", "length") for chunk in chunks):
            return None
        for chunk in chunks:
            chunk.text = "".join(self._texts[chunk.index])
        ended = Finished(finished.usage, Timings(), finished.tokens)
        return KeptAnswer(self._accepted, self._pieces if self._in_pieces else chunks, ended)
