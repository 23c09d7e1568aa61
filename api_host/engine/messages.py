"""What crosses between the host and a worker: msgpack frames over a socket pair, each a dataclass here.

A frame is a 4-byte big-endian length and that many bytes of msgpack (tagged with the class's name).
"""

from __future__ import annotations

import socket
import struct
from typing import Any, TypeAlias

import msgspec

from api_host.generation import FinishReason, GenerationRequest, Timings, TokenLogprob, Usage
from api_host.kv_cache import CacheType

MAX_FRAME_BYTES = 256 * 1024 * 1024
# Of a larger buffer each receive would have the system map and unmap memory.
RECEIVE_BYTES = 64 * 1024
_LENGTH = struct.Struct(">I")
# A worker's line on stderr between what is said of a load, of the model or of what embeds, and what of requests.
LOADED_LINE = "--- the model is loaded ---"


# Host to worker.


class Load(msgspec.Struct, tag=True):
    """The first message: which model, and how. ``None`` leaves a choice to the worker, which reports it.

    ``path`` is the GGUF, or the first part of a split one. ``n_gpu_layers`` None is all that fit (``use_gpu``),
    ``n_slots`` None is 4 on a CPU and 8 on a GPU, but at most ``most_slots``. ``n_ctx`` is in tokens a sequence,
    ``cache_type`` that of the KV cache's values, ``lookup`` whether tokens are guessed from earlier places of a text.
    ``n_batch`` None is 512 on a CPU and 2048 on a GPU; ``prefix_memory`` None is a tenth of what is free;
    ``use_mmap`` None reads the file into huge pages on a CPU that has them, and maps it elsewhere. ``draft_model`` is
    the GGUF of a second model that guesses at most ``draft_max`` tokens a step. The rest: HostConfig.
    """

    path: str
    n_ctx: int
    n_slots: int | None = None
    most_slots: int | None = None
    use_gpu: bool = True
    n_gpu_layers: int | None = None
    n_threads: int | None = None
    queue_limit: int = 100
    cache_type: CacheType = "f16"
    lookup: bool = False
    draft_model: str | None = None
    draft_max: int = 8
    prefix_memory: int | None = None
    n_batch: int | None = None
    use_mmap: bool | None = None
    use_mlock: bool = False
    tensor_split: list[float] | None = None
    main_gpu: int | None = None
    rope_freq_base: float | None = None
    rope_freq_scale: float | None = None


class Generate(msgspec.Struct, tag=True):
    """A request; answered by RequestAccepted or RequestFailed, then by Pieces.

    ``n_ctx`` may bound it below the slot's. ``count_only`` reads no token of it: its length is the answer.
    ``adapters`` are the request's LoRA adapters: the path and the scale of each.
    """

    id: int
    request: GenerationRequest
    n_ctx: int | None = None
    count_only: bool = False
    adapters: list[tuple[str, float]] = []


class Embed(msgspec.Struct, tag=True):
    """Texts to turn into vectors; answered by Embedded or RequestFailed."""

    id: int
    texts: list[str | list[int]]
    truncate: bool = False


class Cancel(msgspec.Struct, tag=True):
    """Ends a request between two steps, or inside a prefill; an unknown id is ignored (it has just ended)."""

    id: int


# Worker to host.


class Loaded(msgspec.Struct, tag=True):
    """The model is ready; the facts of ``GET /api/models``."""

    info: ModelInfo


class LoadFailed(msgspec.Struct, tag=True):
    """``code`` is an error code of the error tree (model_load_failed or out_of_memory)."""

    code: str
    message: str
    details: dict[str, Any] = {}


class ModelInfo(msgspec.Struct):
    """What was loaded and what was chosen for it. Sizes in bytes; ``notes`` are sentences for the user.

    ``draft_model`` is the file name of the model that guesses for it, if one does.
    """

    architecture: str
    description: str
    n_params: int
    size: int
    n_ctx_train: int
    n_ctx: int
    n_slots: int
    n_vocab: int
    n_layer: int
    n_gpu_layers: int
    device: str
    has_chat_template: bool
    makes_text: bool = True
    load_seconds: float = 0.0
    draft_model: str | None = None
    notes: list[str] = []


class RequestAccepted(msgspec.Struct, tag=True):
    id: int
    n_prompt_tokens: int
    prompt: str | None = None


class RequestFailed(msgspec.Struct, tag=True):
    """Refused before its first token, or failed later; ``code`` is one of the error tree."""

    id: int
    code: str
    message: str
    details: dict[str, Any] = {}


class Piece(msgspec.Struct, tag=True):
    """New text of choice ``index`` of a request."""

    id: int
    index: int
    text: str
    n_tokens: int
    finish_reason: FinishReason | None = None
    logprobs: list[TokenLogprob] | None = None


class RequestFinished(msgspec.Struct, tag=True):
    id: int
    usage: Usage
    timings: Timings
    tokens: list[int] | None = None


class Embedded(msgspec.Struct, tag=True):
    """One vector a text, each little-endian float32 of length 1 (L2), and the number of tokens read."""

    id: int
    vectors: list[bytes]
    n_tokens: int


WorkerEvent: TypeAlias = RequestAccepted | RequestFailed | Piece | RequestFinished | Embedded


class EngineStats(msgspec.Struct):
    """The worker as it is after a step: requests waiting, sequences running, KV cells in use and in all."""

    n_waiting: int = 0
    n_running: int = 0
    cells_used: int = 0
    cells_total: int = 0


class Step(msgspec.Struct, tag=True):
    """All that one step of the scheduler has to say."""

    events: list[WorkerEvent]
    stats: EngineStats


ToWorker: TypeAlias = Load | Generate | Embed | Cancel
FromWorker: TypeAlias = Loaded | LoadFailed | Step

_encoder = msgspec.msgpack.Encoder()
to_worker_decoder: msgspec.msgpack.Decoder[ToWorker] = msgspec.msgpack.Decoder(ToWorker)
from_worker_decoder: msgspec.msgpack.Decoder[FromWorker] = msgspec.msgpack.Decoder(FromWorker)


def frame(message: ToWorker | FromWorker) -> bytes:
    """The message as it is sent. Raises OverflowError: a whole number is beyond 64 bits."""
    payload = _encoder.encode(message)
    return _LENGTH.pack(len(payload)) + payload


def send(sock: socket.socket, message: ToWorker | FromWorker) -> None:
    """Writes one frame. Raises OSError when the other side has gone."""
    sock.sendall(frame(message))


class FrameReader:
    """Cuts a socket's bytes into frames; ``feed`` what has arrived, then iterate over whole ones."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The frames that are now whole, oldest first. Raises ValueError on a frame above 256 MB."""
        self._buffer += data
        frames = []
        while len(self._buffer) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer)
            if length > MAX_FRAME_BYTES:
                raise ValueError(f"frame of {length} bytes; at most {MAX_FRAME_BYTES} are allowed")
            end = _LENGTH.size + length
            if len(self._buffer) < end:
                break
            frames.append(bytes(self._buffer[_LENGTH.size : end]))
            del self._buffer[:end]
        return frames
