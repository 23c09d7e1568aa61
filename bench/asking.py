"""Asks a running server for greedy text, and reads from the events what came, when, and whether it was all.

A measurement counts only when every answer has exactly the tokens that were asked for: that is checked here, by the
words of the text and by what the server says itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.load import Exchange, Load, LoadFailed, http_post
from bench.process import RunningServer
from bench.prompts import Prompts, n_prompt_tokens
from bench.servers import Counts, Server


@dataclass(frozen=True)
class Asked:
    """``n_tokens`` of text for a prompt."""

    prompt: str
    n_tokens: int


@dataclass(frozen=True)
class Answered:
    """What came back. ``times`` are those of each event with text, ``sent`` that of the request (one clock)."""

    asked: Asked
    text: str
    sent: float
    times: tuple[float, ...]

    @property
    def first_token(self) -> float:
        """Seconds from the request to the first text."""
        return self.times[0] - self.sent

    @property
    def decode_rate(self) -> float:
        """Tokens a second after the first."""
        return (self.asked.n_tokens - 1) / (self.times[-1] - self.times[0])


def request(server: Server, asked: Asked) -> bytes:
    """The bytes that ask ``server`` for a streamed answer."""
    return http_post(server.path, server.body(asked.prompt, asked.n_tokens, stream=True))


def ask(running: RunningServer, asked: Sequence[Asked]) -> list[Answered]:
    """Asks for all at once and returns when all have ended. Raises LoadFailed when one is not whole."""
    with Load(running.port) as load:
        exchanges = load.send(*(request(running.server, one) for one in asked))
        load.run()
    return [answered(running.server, one, exchange) for one, exchange in zip(asked, exchanges, strict=True)]


def answered(server: Server, asked: Asked, exchange: Exchange) -> Answered:
    """What a finished exchange amounts to. Raises LoadFailed when it is not exactly what was asked for."""
    pieces = [(event.time, server.text(event)) for event in exchange.answer.events]
    found = [counts for event in exchange.answer.events if (counts := server.counts(event)) is not None]
    text = "".join(piece for _, piece in pieces)
    counts = found[-1] if found else Counts()
    n_words = len(text.split())
    said = (counts.prompt_tokens, counts.completion_tokens)
    wanted = (n_prompt_tokens(asked.prompt), asked.n_tokens)
    differ = [got for got, want in zip(said, wanted, strict=True) if got not in (None, want)]
    if not counts.whole or n_words != asked.n_tokens or differ:
        last = (
            exchange.answer.events[-1].data[:300].decode(errors="replace") if exchange.n_events else "nothing"
        )
        raise LoadFailed(
            f"{server.name} was asked for {wanted[1]} tokens after {wanted[0]}; it made {n_words} words and says "
            f"{said}; its last event: {last}"
        )
    times = tuple(time for time, piece in pieces if piece)
    return Answered(asked, text.strip(), exchange.sent, times)


def warm_up(running: RunningServer, words: list[str]) -> None:
    """A few tokens in every slot, from prompts that come again nowhere."""
    prompts = Prompts(words, "warm-up")
    ask(running, [Asked(prompts.text(8), 4) for _ in range(running.setting.slots)])
