"""The workloads of streamed text: streams side by side, a shared prefix, a chat, a long prompt among running streams.

Figures: ``decode_tps`` tokens a second after the first; ``total_tps`` tokens of all streams over the time from the
first request to the last token; ``ttft...`` seconds from a request to its first token; ``gap...`` seconds between
tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from bench.asking import Answered, Asked, answered, ask, request
from bench.figures import gaps_within, percentile
from bench.limits import Batched, Limit, SharedPrefix, TextGeneration
from bench.load import Load, LoadFailed
from bench.process import RunningServer
from bench.prompts import Prompts, n_prompt_tokens
from bench.servers import BINDINGS, HOST, LLAMA_SERVER, Server, Setting
from bench.workload import Ground, Measured, make_setting, warm_server

ALL = (HOST, LLAMA_SERVER, BINDINGS)


def total_rate(answers: list[Answered]) -> float:
    """Tokens a second of all streams together, from the first request to the last token."""
    n_tokens = sum(answer.asked.n_tokens for answer in answers)
    return n_tokens / (max(answer.times[-1] for answer in answers) - min(answer.sent for answer in answers))


@dataclass(frozen=True)
class OneStream:
    """One request after another."""

    n_prompt: int = 32
    n_tokens: int = 128
    rounds: int = 3
    key: str = "1"
    name: str = "1 stream"
    servers: tuple[str, ...] = ALL

    @property
    def limits(self) -> tuple[Limit, ...]:
        return (TextGeneration(self.n_tokens, self.rounds),)

    def setting(self, ground: Ground) -> Setting:
        return make_setting(ground, 1, self.n_prompt + self.n_tokens + 1)

    def measure(self, server: Server, ground: Ground, seed: str) -> Measured:
        prompts = Prompts(ground.words, seed)
        answers = []
        with warm_server(server, ground, self.setting(ground)) as running:
            for _ in range(self.rounds):
                answers += ask(running, [Asked(prompts.text(self.n_prompt), self.n_tokens)])
        figures = {
            "decode_tps": median(answer.decode_rate for answer in answers),
            "ttft": median(answer.first_token for answer in answers),
        }
        return Measured(figures, answers)


@dataclass(frozen=True)
class Streams:
    """``n_streams`` requests at once, as many slots."""

    n_streams: int
    n_prompt: int = 64
    n_tokens: int = 128
    rounds: int = 2
    servers: tuple[str, ...] = ALL

    @property
    def key(self) -> str:
        return str(self.n_streams)

    @property
    def name(self) -> str:
        return f"{self.n_streams} streams"

    @property
    def limits(self) -> tuple[Limit, ...]:
        return (Batched(self.n_streams, self.n_prompt + 1, self.n_tokens),)

    def setting(self, ground: Ground) -> Setting:
        return make_setting(ground, self.n_streams, self.n_prompt + self.n_tokens + 1)

    def measure(self, server: Server, ground: Ground, seed: str) -> Measured:
        prompts = Prompts(ground.words, seed)
        rates, answers = [], []
        with warm_server(server, ground, self.setting(ground)) as running:
            for _ in range(self.rounds):
                asked = [Asked(prompts.text(self.n_prompt), self.n_tokens) for _ in range(self.n_streams)]
                found = ask(running, asked)
                rates.append(total_rate(found))
                answers += found
        return Measured({"total_tps": median(rates)}, answers)


@dataclass(frozen=True)
class SharedPrompt:
    """``n_streams`` requests at once that begin with the same text, which no server has seen before."""

    n_streams: int = 8
    n_shared: int = 1000
    n_own: int = 30
    n_tokens: int = 32
    key: str = "shared"
    servers: tuple[str, ...] = ALL

    @property
    def name(self) -> str:
        return f"{self.n_streams} streams behind {self.n_shared:,} shared tokens"

    @property
    def limits(self) -> tuple[Limit, ...]:
        return (SharedPrefix(self.n_streams, self.n_shared + 1, self.n_own, self.n_tokens),)

    def setting(self, ground: Ground) -> Setting:
        return make_setting(ground, self.n_streams, self.n_shared + self.n_own + self.n_tokens + 1)

    def measure(self, server: Server, ground: Ground, seed: str) -> Measured:
        prompts = Prompts(ground.words, seed)
        shared = prompts.text(self.n_shared)
        asked = [Asked(f"{shared} {prompts.text(self.n_own)}", self.n_tokens) for _ in range(self.n_streams)]
        with warm_server(server, ground, self.setting(ground)) as running:
            answers = ask(running, asked)
        firsts = [answer.first_token for answer in answers]
        return Measured({"total_tps": total_rate(answers), "ttft": median(firsts)}, answers)


@dataclass(frozen=True)
class Chat:
    """Chats of ``turns`` turns, one after another; each turn sends everything that was said before."""

    turns: int = 10
    n_own: int = 30
    n_tokens: int = 32
    chats: int = 6
    slots: int = 4
    key: str = "chat"
    servers: tuple[str, ...] = ALL
    limits: tuple[Limit, ...] = ()

    @property
    def name(self) -> str:
        return f"chat of {self.turns} turns"

    def setting(self, ground: Ground) -> Setting:
        return make_setting(ground, self.slots, self.turns * (self.n_own + self.n_tokens) + 1)

    def measure(self, server: Server, ground: Ground, seed: str) -> Measured:
        prompts = Prompts(ground.words, seed)
        with warm_server(server, ground, self.setting(ground)) as running:
            chats = [self._talk(running, prompts) for _ in range(self.chats)]
        by_turn = [[turn.first_token for turn in turns] for turns in zip(*chats, strict=True)]
        figures = {turn_figure(i): median(firsts) for i, firsts in enumerate(by_turn)}
        return Measured(figures, [turn for chat in chats for turn in chat])

    def _talk(self, running: RunningServer, prompts: Prompts) -> list[Answered]:
        said: list[str] = []
        turns = []
        for _ in range(self.turns):
            said.append(prompts.text(self.n_own))
            (answer,) = ask(running, [Asked(" ".join(said), self.n_tokens)])
            said.append(answer.text)
            turns.append(answer)
        return turns


@dataclass(frozen=True)
class ReturningChats:
    """More chats than slots, taking turns: each comes back when others have had its slot since.

    What is measured is the time to the first token of the turns after the first round.
    """

    n_chats: int = 6
    slots: int = 2
    rounds: int = 3
    n_first: int = 800
    n_own: int = 20
    n_tokens: int = 4
    key: str = "returning"
    servers: tuple[str, ...] = (HOST, LLAMA_SERVER)
    limits: tuple[Limit, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.n_chats} chats take turns in {self.slots} slots"

    def setting(self, ground: Ground) -> Setting:
        longest = self.n_first + self.rounds * (self.n_own + self.n_tokens) + 1
        return make_setting(ground, self.slots, longest)

    def measure(self, server: Server, ground: Ground, seed: str) -> Measured:
        prompts = Prompts(ground.words, seed)
        chats = [prompts.text(self.n_first) for _ in range(self.n_chats)]
        answers = []
        with warm_server(server, ground, self.setting(ground)) as running:
            for _ in range(self.rounds):
                for i, said in enumerate(chats):
                    asked = f"{said} {prompts.text(self.n_own)}"
                    (answer,) = ask(running, [Asked(asked, self.n_tokens)])
                    chats[i] = f"{asked} {answer.text}"
                    answers.append(answer)
        later = [answer.first_token for answer in answers[self.n_chats :]]
        return Measured({"ttft": median(later)}, answers)


def turn_figure(index: int) -> str:
    """The name of the figure of turn ``index`` (from 0): its time to the first token."""
    return f"ttft_turn_{index + 1:02}"


@dataclass(frozen=True)
class LongPrompt:
    """A prompt of ``n_long`` tokens arrives while ``n_streams`` are being read.

    The gaps are those of the running streams from its arrival to its own first token; the streams are long enough to
    outlast that.
    """

    n_streams: int = 4
    n_long: int = 4000
    n_prompt: int = 16
    n_tokens: int = 512
    n_before: int = 16
    n_answer: int = 16
    key: str = "long"
    servers: tuple[str, ...] = (HOST, LLAMA_SERVER)
    limits: tuple[Limit, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.n_long:,} tokens arrive while {self.n_streams} streams run"

    def setting(self, ground: Ground) -> Setting:
        longest = max(self.n_long + self.n_answer, self.n_prompt + self.n_tokens)
        return make_setting(ground, self.n_streams + 1, longest + 1)

    def measure(self, server: Server, ground: Ground, seed: str) -> Measured:
        prompts = Prompts(ground.words, seed)
        asked = [Asked(prompts.text(self.n_prompt), self.n_tokens) for _ in range(self.n_streams)]
        late = Asked(prompts.text(self.n_long), self.n_answer)
        with (
            warm_server(server, ground, self.setting(ground)) as running,
            Load(running.port) as load,
        ):
            exchanges = load.send(*(request(server, one) for one in asked))
            load.run(until=lambda: all(one.n_events >= self.n_before for one in exchanges))
            exchanges += load.send(request(server, late))
            load.run()
        answers = [answered(server, *pair) for pair in zip([*asked, late], exchanges, strict=True)]
        return Measured(self._figures(answers[:-1], answers[-1]), answers)

    def _figures(self, streams: list[Answered], late: Answered) -> dict[str, float]:
        start, end = late.sent, late.times[0]
        if any(stream.times[-1] < end for stream in streams):
            raise LoadFailed(
                f"the running streams ended before {n_prompt_tokens(late.asked.prompt)} tokens were read; "
                "their n_tokens must be larger"
            )
        gaps = [gap for stream in streams for gap in gaps_within(stream.times, start, end)]
        return {
            "gap_p99": percentile(gaps, 0.99),
            "gap_max": max(gaps),
            "gap_median": median(gaps),
            "n_gaps": len(gaps),
            "ttft_long": late.first_token,
        }
