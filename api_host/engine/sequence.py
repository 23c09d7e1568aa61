"""A request inside the engine, and its sequences: one token stream for each choice (``n=2`` makes two).

Holds state and derives the rest; decides nothing.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

from api_host.engine.backend import Adapters, Sampler
from api_host.engine.transcript import Transcript
from api_host.errors import ContextLengthExceeded, InvalidRequest
from api_host.generation import SamplingParams, Timings, Usage


@dataclass
class Request:
    """One request in tokens. ``n_ctx`` bounds prompt and answer; times are of the scheduler's clock, in seconds.

    ``text`` is what Accepted tells of the prompt. ``want_tokens``, ``show_control`` and ``each_token`` as in
    GenerationRequest.
    """

    id: int
    prompt: array[int]
    sampling: SamplingParams
    stop: list[str]
    n_ctx: int
    text: str | None = None
    want_tokens: bool = False
    show_control: bool = False
    each_token: bool = False
    adapters: Adapters = ()
    submitted: float = 0.0
    started: float | None = None
    first_token: float | None = None
    sequences: list[Sequence] = field(default_factory=list)

    def check_length(self) -> None:
        """Raises ContextLengthExceeded, or InvalidRequest, when not even one token of an answer fits."""
        n_prompt, most = len(self.prompt), self.sampling.max_length
        if n_prompt >= self.n_ctx:
            raise ContextLengthExceeded(
                f"inputs: the prompt has {n_prompt} tokens and the context holds {self.n_ctx}, answer included; "
                "shorten it or ask for a longer options.ctx_length",
                n_prompt_tokens=n_prompt,
                n_ctx=self.n_ctx,
            )
        if most is not None and n_prompt >= most:
            raise InvalidRequest(
                f"parameters.max_length: the prompt has {n_prompt} tokens already; allowed: at least {n_prompt + 1}"
            )

    @property
    def finished(self) -> bool:
        return all(sequence.finished for sequence in self.sequences)

    @property
    def usage(self) -> Usage:
        return Usage(
            prompt_tokens=len(self.prompt),
            completion_tokens=sum(sequence.n_generated for sequence in self.sequences),
            cached_tokens=self.sequences[0].n_cached,
        )

    @property
    def tokens(self) -> list[int] | None:
        """Prompt and answer of the first choice, if they are wanted."""
        return self.sequences[0].tokens.tolist() if self.want_tokens else None

    def timings(self, now: float) -> Timings:
        started = now if self.started is None else self.started
        first = now if self.first_token is None else self.first_token
        return Timings(queued=started - self.submitted, prefill=first - started, decode=now - first)


class Sequence:
    """One token stream.

    ``tokens`` are prompt and answer; the first ``n_computed`` of them have their cells in ``slot``. A sequence
    that ``leader`` is set for waits until the leader has ``n_shared`` cells, and then takes a copy of them.

    Args:
        request: whose it is. ``index``: which of its choices.
        transcript: takes its answer's tokens.
    """

    def __init__(self, request: Request, index: int, transcript: Transcript) -> None:
        sampling = request.sampling
        most = min(request.n_ctx, sampling.max_length or request.n_ctx)
        self.request = request
        self.index = index
        self.tokens = array("i", request.prompt)
        self.n_computed = 0
        self.n_cached = 0
        self.slot: int | None = None
        self.sampler: Sampler | None = None
        self.transcript = transcript
        self.finished = False
        self.leader: Sequence | None = None
        self.n_shared = 0
        self.suspect = False
        self._limit = min(len(request.prompt) + sampling.max_tokens, most)

    @property
    def n_generated(self) -> int:
        return len(self.tokens) - len(self.request.prompt)

    @property
    def prefilling(self) -> bool:
        """Whether more than the newest token is without cells."""
        return len(self.tokens) - self.n_computed > 1

    @property
    def n_left(self) -> int:
        """Tokens that may still be generated."""
        return self._limit - len(self.tokens)

    @property
    def at_limit(self) -> bool:
        return len(self.tokens) >= self._limit
