"""Everything that can go wrong between a laptop and its host, each with its cause and its cure.

Knows nothing of HTTP libraries: ``reply``, ``edge`` and ``connection`` decide which of these is raised.

    ClientError
    ├── BadArgument                  what was given cannot be sent, and nothing was; a ValueError, too
    ├── HostError                    the host said so: ``status``, ``code``, ``details``, ``retry_after``
    │   ├── InvalidRequest           400  ``problems``: one sentence a wrong field
    │   │   ├── ModelNotNamed        400
    │   │   └── ContextLengthExceeded  400  ``n_prompt_tokens``, ``n_ctx``
    │   ├── WrongToken               403
    │   ├── BodyTooLarge             413
    │   ├── Cancelled                499
    │   ├── Overloaded               429 or 503
    │   │   ├── QueueFull            429
    │   │   └── HostStopping         503
    │   ├── ModelError
    │   │   ├── ModelNotFound
    │   │   │   ├── RepoNotFound     404
    │   │   │   └── ModelFileNotFound  404  ``available``: the GGUF files there are
    │   │   ├── GatedRepo            403  ``accept_at``: the page where the licence is accepted
    │   │   ├── HubTokenRejected     403
    │   │   ├── HubRateLimited       429
    │   │   ├── HubUnreachable       503
    │   │   ├── DownloadFailed       502
    │   │   │   ├── DownloadStalled  504
    │   │   │   └── ChecksumMismatch 502
    │   │   ├── NoRoom               507  ``needed``, ``free``: bytes
    │   │   │   ├── DiskFull
    │   │   │   └── OutOfMemory
    │   │   ├── ModelBusy            409
    │   │   └── ModelLoadFailed      422
    │   └── EngineError
    │       ├── GenerationFailed     500
    │       └── WorkerDied           503  ``stderr``: the end of what the worker printed
    ├── EdgeError                    Cloudflare or another proxy answered instead of the host
    │   ├── TunnelGone               530, 1016, 1033
    │   ├── HostUnreachable          502, 520 to 523, 525, 526
    │   ├── EdgeTimeout              504, 524
    │   ├── TooManyRequests          429, 1015
    │   ├── AccessDenied             1006 to 1010, 1020, challenges
    │   ├── Redirected               3xx
    │   └── NotAnApiHost             a web page where JSON belongs
    ├── ConnectionFailed             no answer at all; ``sent``: whether the request may have reached the host
    │   ├── HostNotFound             the name is not known to DNS
    │   ├── ConnectionRefused        nothing listens there
    │   └── TimedOut                 nothing came within the timeout
    └── BadAnswer                    the status said 200, the body is no answer
        ├── EmptyAnswer              nothing, or only white space
        ├── NotAnAnswer              JSON of another shape
        └── AnswerCut                the body ends too early
            └── StreamCut            so does the stream: ``text``, ``texts`` hold what had come
"""

from __future__ import annotations

from api_host_client.host_errors import (
    BodyTooLarge,
    Cancelled,
    ChecksumMismatch,
    ClientError,
    ContextLengthExceeded,
    DiskFull,
    DownloadFailed,
    DownloadStalled,
    EngineError,
    GatedRepo,
    GenerationFailed,
    HostError,
    HostStopping,
    HubRateLimited,
    HubTokenRejected,
    HubUnreachable,
    InvalidRequest,
    ModelBusy,
    ModelError,
    ModelFileNotFound,
    ModelLoadFailed,
    ModelNotFound,
    ModelNotNamed,
    NoRoom,
    OutOfMemory,
    Overloaded,
    QueueFull,
    RepoNotFound,
    WorkerDied,
    WrongToken,
)

__all__ = [
    "AccessDenied",
    "AnswerCut",
    "BadAnswer",
    "BadArgument",
    "BodyTooLarge",
    "Cancelled",
    "ChecksumMismatch",
    "ClientError",
    "ConnectionFailed",
    "ConnectionRefused",
    "ContextLengthExceeded",
    "DiskFull",
    "DownloadFailed",
    "DownloadStalled",
    "EdgeError",
    "EdgeTimeout",
    "EmptyAnswer",
    "EngineError",
    "GatedRepo",
    "GenerationFailed",
    "HostError",
    "HostNotFound",
    "HostStopping",
    "HostUnreachable",
    "HubRateLimited",
    "HubTokenRejected",
    "HubUnreachable",
    "InvalidRequest",
    "ModelBusy",
    "ModelError",
    "ModelFileNotFound",
    "ModelLoadFailed",
    "ModelNotFound",
    "ModelNotNamed",
    "NoRoom",
    "NotAnAnswer",
    "NotAnApiHost",
    "OutOfMemory",
    "Overloaded",
    "QueueFull",
    "Redirected",
    "RepoNotFound",
    "StreamCut",
    "TimedOut",
    "TooManyRequests",
    "TunnelGone",
    "WorkerDied",
    "WrongToken",
]


class BadArgument(ClientError, ValueError):
    """An argument is none that a host can be sent; the sentence begins with its name."""


class EdgeError(ClientError):
    """A proxy between here and the host answered in its place.

    Args:
        message: what it means and what to do.
        status: the HTTP status of the answer.
        code: Cloudflare's own number (1033, 524, ...); None when the answer names none.
        ray: the ``CF-RAY`` id, which Cloudflare's support asks for.
        retry_after: seconds after which trying again makes sense; None when it was not said.
    """

    def __init__(
        self,
        message: str = "",
        *,
        status: int = 0,
        code: int | None = None,
        ray: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.ray = ray
        self.retry_after = retry_after

    def __str__(self) -> str:
        number = f"{self.status}/{self.code}" if self.code not in (None, self.status) else f"{self.status}"
        return f"{self.message} [edge {number}]"


class TunnelGone(EdgeError):
    pass


class HostUnreachable(EdgeError):
    pass


class EdgeTimeout(EdgeError):
    pass


class TooManyRequests(EdgeError):
    pass


class AccessDenied(EdgeError):
    pass


class Redirected(EdgeError):
    pass


class NotAnApiHost(EdgeError):
    pass


class ConnectionFailed(ClientError):
    """No answer came. ``sent`` is False when the request certainly did not reach the host."""

    def __init__(self, message: str = "", *, sent: bool = True) -> None:
        super().__init__(message)
        self.sent = sent


class HostNotFound(ConnectionFailed):
    pass


class ConnectionRefused(ConnectionFailed):
    pass


class TimedOut(ConnectionFailed):
    pass


class BadAnswer(ClientError):
    pass


class EmptyAnswer(BadAnswer):
    pass


class NotAnAnswer(BadAnswer):
    pass


class AnswerCut(BadAnswer):
    pass


class StreamCut(AnswerCut):
    """``texts`` holds the text so far of each choice by its index; ``text`` is that of choice 0."""

    def __init__(self, message: str = "", *, texts: dict[int, str] | None = None) -> None:
        super().__init__(message)
        self.texts = texts or {}

    @property
    def text(self) -> str:
        return self.texts.get(0, "")
