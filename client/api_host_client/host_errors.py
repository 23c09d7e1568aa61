"""What the host itself says went wrong; the whole tree is drawn in ``errors``.

Knows nothing of HTTP libraries. The codes are those of the host's own error tree.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


class ClientError(Exception):
    """The base of all errors of this package; ``message`` says what happened and what to do."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message)
        self.message = message


class HostError(ClientError):
    """The host refused or failed.

    Args:
        message: the host's own sentence.
        status: the HTTP status, or the one a late error names in its body.
        code: the host's name for this error, such as ``queue_full``; None when it gave none.
        details: what else the host said about it, by name.
        retry_after: seconds after which trying again makes sense; None when the host did not say.
    """

    code: str | None = None
    cure = ""

    def __init__(
        self,
        message: str = "",
        *,
        status: int = 500,
        code: str | None = None,
        details: dict[str, Any] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code or type(self).code
        self.details = details or {}
        self.retry_after = retry_after

    def __str__(self) -> str:
        text = f"{self.message} ({self.cure})" if self.cure else self.message
        return f"{text} [{self.status} {self.code}]" if self.code else f"{text} [{self.status}]"


class InvalidRequest(HostError):
    code = "invalid_request"

    @property
    def problems(self) -> list[str]:
        """One sentence for each wrong field."""
        return list(self.details.get("problems") or [self.message])


class ModelNotNamed(InvalidRequest):
    code = "model_not_named"


class ContextLengthExceeded(InvalidRequest):
    code = "context_length_exceeded"

    @property
    def n_prompt_tokens(self) -> int | None:
        return self.details.get("n_prompt_tokens")

    @property
    def n_ctx(self) -> int | None:
        return self.details.get("n_ctx")


class WrongToken(HostError):
    code = "wrong_token"
    cure = "the access token is the first line that the host prints; pass it as Client(url, token)"


class BodyTooLarge(HostError):
    code = "body_too_large"


class Cancelled(HostError):
    code = "cancelled"


class Overloaded(HostError):
    """The host has more to do than it takes; try again after ``retry_after`` seconds."""


class QueueFull(Overloaded):
    code = "queue_full"


class HostStopping(Overloaded):
    code = "host_stopping"


class ModelError(HostError):
    pass


class ModelNotFound(ModelError):
    pass


class RepoNotFound(ModelNotFound):
    code = "repo_not_found"


class ModelFileNotFound(ModelNotFound):
    code = "file_not_found"

    @property
    def available(self) -> list[str]:
        return list(self.details.get("available") or [])


class GatedRepo(ModelError):
    code = "gated_repo"

    @property
    def accept_at(self) -> str | None:
        return self.details.get("accept_at")


class HubTokenRejected(ModelError):
    code = "hub_token_rejected"


class HubRateLimited(ModelError):
    code = "hub_rate_limited"


class HubUnreachable(ModelError):
    code = "hub_unreachable"


class DownloadFailed(ModelError):
    code = "download_failed"


class DownloadStalled(DownloadFailed):
    code = "download_stalled"


class ChecksumMismatch(DownloadFailed):
    code = "checksum_mismatch"


class NoRoom(ModelError):
    """``needed`` and ``free`` are bytes; None when the host did not say."""

    @property
    def needed(self) -> int | None:
        return self.details.get("needed")

    @property
    def free(self) -> int | None:
        return self.details.get("free")


class DiskFull(NoRoom):
    code = "disk_full"


class OutOfMemory(NoRoom):
    code = "out_of_memory"


class ModelBusy(ModelError):
    code = "model_busy"


class ModelLoadFailed(ModelError):
    code = "model_load_failed"


class EngineError(HostError):
    pass


class GenerationFailed(EngineError):
    code = "generation_failed"


class WorkerDied(EngineError):
    code = "worker_died"

    @property
    def stderr(self) -> str:
        return str(self.details.get("stderr") or "")


def host_error_kinds() -> dict[str, type[HostError]]:
    """The host's errors by their code."""
    return {kind.code: kind for kind in _below(HostError) if kind.code and "code" in vars(kind)}


def _below(root: type[HostError]) -> Iterator[type[HostError]]:
    for child in root.__subclasses__():
        yield child
        yield from _below(child)
