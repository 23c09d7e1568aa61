"""What the whole house speaks: a request, its sampling parameters, and the events that answer it.

Knows nothing of HTTP, of the hub or of llama.cpp. Every default of a sampling parameter stands here.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, MaxLen, MinLen

FinishReason = Literal["stop", "length", "cancelled"]

GREEDY_TOP_K = 1
# Of seeds the last 32-bit number means none to llama.cpp.
N_SEEDS = 2**32 - 1
# A part of ``SamplingParams.json_schema`` in which this is true is held to as far as it can be: else it is any object.
AS_FAR_AS_IT_GOES = "x-as-far-as-it-goes"
MAX_ADAPTERS = 8


def fresh_seed() -> int:
    """A seed that nobody has chosen: no seed at all would be the host's own, where it has one."""
    return secrets.randbelow(N_SEEDS)


@dataclass
class ToolCall:
    """A function that an assistant's turn calls: ``arguments`` is the text of a JSON object."""

    name: str
    arguments: str
    id: str = ""


@dataclass
class Message:
    """One turn of a chat: ``role`` is system, user, assistant or tool.

    An assistant's turn may call tools; a tool's turn answers the call ``tool_call_id`` of the tool ``name``.
    """

    role: str
    content: str
    tool_calls: list[ToolCall] = field(default_factory=list)
    tool_call_id: str | None = None
    name: str | None = None


@dataclass
class SamplingParams:
    """How tokens are drawn; llama.cpp's own names and meanings.

    ``temperature`` 0, ``top_k`` 1 or ``top_p`` 0 is greedy. The chain is applied in llama.cpp's order: logit bias,
    penalties, top_k, typical_p, top_p, min_p, temperature, draw; mirostat 1 or 2 replaces the truncating ones.
    ``seed`` None draws from the system; a set seed alone decides the draws of a request, whatever runs beside it.
    ``max_length`` bounds prompt and answer together, in tokens; ``min_tokens`` come before the model may end its text.
    ``bad_words`` are rows of tokens of which none is ever completed. ``include_stop`` leaves the stop string that
    ended a text at its end.
    ``grammar`` (GBNF) or ``json_schema`` holds the text to a form. ``logprobs`` asks for the log-probability of each
    token, before any sampler, and for those of that many likeliest tokens beside it.
    """

    __pydantic_config__ = {"extra": "forbid"}

    max_tokens: Annotated[int, Ge(1), Le(1_000_000)] = 512
    min_tokens: Annotated[int, Ge(0), Le(1_000_000)] = 0
    max_length: Annotated[int, Ge(1), Le(10_000_000)] | None = None
    temperature: Annotated[float, Ge(0), Le(10)] = 1.0
    top_k: Annotated[int, Ge(0), Le(1_000_000)] = 10
    top_p: Annotated[float, Ge(0), Le(1)] = 0.95
    min_p: Annotated[float, Ge(0), Le(1)] = 0.0
    typical_p: Annotated[float, Gt(0), Le(1)] = 1.0
    repeat_penalty: Annotated[float, Gt(0), Le(10)] = 1.0
    repeat_last_n: Annotated[int, Ge(-1), Le(1_000_000)] = 64
    frequency_penalty: Annotated[float, Ge(-10), Le(10)] = 0.0
    presence_penalty: Annotated[float, Ge(-10), Le(10)] = 0.0
    mirostat: Annotated[int, Ge(0), Le(2)] = 0
    mirostat_tau: Annotated[float, Gt(0), Le(100)] = 5.0
    mirostat_eta: Annotated[float, Gt(0), Le(1)] = 0.1
    seed: Annotated[int, Ge(0), Le(2**32 - 2)] | None = None
    logit_bias: Annotated[dict[int, Annotated[float, Ge(-1000), Le(1000)]], MaxLen(4096)] = field(
        default_factory=dict
    )
    no_repeat_ngram_size: Annotated[int, Ge(0), Le(1000)] = 0
    bad_words: Annotated[list[Annotated[list[int], MinLen(1), MaxLen(64)]], MaxLen(1024)] = field(
        default_factory=list
    )
    grammar: Annotated[str, MaxLen(100_000)] | None = None
    json_schema: dict[str, Any] | None = None
    logprobs: Annotated[int, Ge(0), Le(20)] | None = None
    stop: Annotated[list[Annotated[str, MaxLen(1000)]], MaxLen(64)] = field(default_factory=list)
    include_stop: bool = False
    ignore_eos: bool = False
    n: Annotated[int, Ge(1), Le(64)] = 1

    @property
    def is_repeatable(self) -> bool:
        """Whether a request by itself is answered the same each time: it is greedy, or its seed decides the draws."""
        return self.greedy or self.seed is not None

    @property
    def greedy(self) -> bool:
        return self.temperature == 0 or self.top_k == GREEDY_TOP_K or self.top_p == 0


@dataclass
class Adapter:
    """A LoRA adapter: its GGUF by reference, and how strongly it counts."""

    __pydantic_config__ = {"extra": "forbid"}

    model: str
    scale: Annotated[float, Ge(-100), Le(100)] = 1.0


@dataclass
class LoadOptions:
    """What a request may ask of the loaded model; None takes the model as it is loaded, or the host's default."""

    use_gpu: bool | None = None
    ctx_length: int | None = None


@dataclass
class GenerationRequest:
    """One request on its way in.

    ``model`` is a reference as the user spelled it (None: the host's default model). ``inputs`` is a text to
    complete, or a chat. ``chat_format`` None is the GGUF's own template. ``lora`` None takes the host's own adapters.

    Of a chat: ``tools`` are functions as OpenAI describes them (``{"type": "function", "function": {"name",
    "description", "parameters"}}``), ``template_values`` further variables of the template (``enable_thinking``), and
    ``continue_last`` goes on with the last turn, an assistant's, instead of answering it. Of a text: ``prefix_tokens``
    stand before it (with an empty text they are the whole prompt), and ``suffix`` asks for what belongs between the
    text and it. ``want_prompt`` has Accepted tell the prompt's text, ``want_tokens`` has Finished tell all tokens,
    ``show_control`` shows the text of control tokens (which some models mark their tool calls with), ``each_token``
    has every token come in a Chunk of its own.
    """

    inputs: str | list[Message]
    model: str | None = None
    sampling: SamplingParams = field(default_factory=SamplingParams)
    options: LoadOptions = field(default_factory=LoadOptions)
    chat_format: str | None = None
    lora: list[Adapter] | None = None
    tools: list[dict[str, Any]] = field(default_factory=list)
    template_values: dict[str, Any] = field(default_factory=dict)
    continue_last: bool = False
    prefix_tokens: list[int] = field(default_factory=list)
    suffix: str | None = None
    want_prompt: bool = False
    want_tokens: bool = False
    show_control: bool = False
    each_token: bool = False


@dataclass
class EmbeddingRequest:
    """Texts to turn into vectors, each as text or as tokens; ``model`` and ``options`` as in GenerationRequest.

    ``truncate`` cuts what is too long for the model instead of refusing it.
    """

    inputs: list[str | list[int]]
    model: str | None = None
    options: LoadOptions = field(default_factory=LoadOptions)
    truncate: bool = False


@dataclass
class Usage:
    """Tokens of one request: ``cached_tokens`` of the prompt cost nothing, their KV cells were still there."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


@dataclass
class Timings:
    """Seconds of one request: waiting for a slot, reading the prompt, generating."""

    queued: float = 0.0
    prefill: float = 0.0
    decode: float = 0.0


# Events, in the order in which a request meets them. Any of Waiting may come at any time before Finished.


@dataclass
class Waiting:
    """Nothing to show yet. ``status`` is queued, downloading, loading or prefill; sent at least every 10 s."""

    status: str
    progress: dict[str, Any] = field(default_factory=dict)


@dataclass
class Accepted:
    """The model is loaded and the prompt fits: from here on an answer comes. ``prompt`` is its text, if wanted.

    ``followed`` tells whether the next event is here already, and so may leave together with what this one has sent.
    """

    model: str
    n_prompt_tokens: int
    prompt: str | None = None
    followed: bool = field(default=False, compare=False)


@dataclass
class TokenLogprob:
    """A token's text and its natural log-probability; ``top`` are the likeliest at its place, falling.

    Half a character is U+FFFD as text; then ``half`` has the token's bytes, and else nothing.
    """

    token: str
    logprob: float
    top: list[TokenLogprob] = field(default_factory=list)
    half: bytes = b""

    @classmethod
    def of(cls, piece: bytes, logprob: float) -> TokenLogprob:
        token = piece.decode("utf-8", "replace")
        return cls(token, logprob, half=piece if "\ufffd" in token else b"")

    @property
    def as_bytes(self) -> bytes:
        return self.half or self.token.encode("utf-8", "replace")


@dataclass
class Chunk:
    """A piece of text of choice ``index``; whole characters, never part of a stop string.

    The last chunk of a choice carries its ``finish_reason``. ``n_tokens`` counts the tokens behind the text;
    ``logprobs`` has an entry for each of them, where they were asked for.
    """

    text: str
    index: int = 0
    n_tokens: int = 0
    finish_reason: FinishReason | None = None
    logprobs: list[TokenLogprob] | None = None


@dataclass
class Vectors:
    """One embedding a text, in the order of the texts; each of length 1 (L2)."""

    vectors: list[list[float]]


@dataclass
class Finished:
    """All choices have ended, or all vectors are there. ``tokens``: prompt and answer of choice 0, if wanted."""

    usage: Usage
    timings: Timings
    tokens: list[int] | None = None


Event = Waiting | Accepted | Chunk | Vectors | Finished
