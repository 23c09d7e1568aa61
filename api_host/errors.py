"""Everything that can go wrong for a caller, with its HTTP status, its code, its cause and its cure.

Knows nothing of Flask: a dialect turns an error into its own shape.

    ApiHostError                     500 internal_error
    ├── InvalidRequest               400 invalid_request          ``problems``: one sentence a wrong field
    │   ├── ModelNotNamed            400 model_not_named
    │   └── ContextLengthExceeded    400 context_length_exceeded  ``n_prompt_tokens``, ``n_ctx``
    ├── WrongToken                   403 wrong_token
    ├── BodyTooLarge                 413 body_too_large
    ├── QueueFull                    429 queue_full               ``limit``, Retry-After
    ├── HostStopping                 503 host_stopping
    ├── Cancelled                    499 cancelled
    ├── TunnelFailed                 503 tunnel_failed            Retry-After where waiting helps
    ├── ModelError
    │   ├── RepoNotFound             404 repo_not_found
    │   ├── ModelFileNotFound        404 file_not_found           ``available``: the GGUF files there are
    │   ├── GatedRepo                403 gated_repo               ``accept_at``: where the licence is accepted
    │   ├── HubTokenRejected         403 hub_token_rejected
    │   ├── HubRateLimited           429 hub_rate_limited         Retry-After
    │   ├── HubUnreachable           503 hub_unreachable
    │   ├── DownloadStalled          504 download_stalled
    │   ├── DownloadFailed           502 download_failed
    │   ├── ChecksumMismatch         502 checksum_mismatch
    │   ├── DiskFull                 507 disk_full                ``needed``, ``free``: bytes
    │   ├── OutOfMemory              507 out_of_memory            ``needed``, ``free``: bytes
    │   ├── ModelBusy                409 model_busy
    │   └── ModelLoadFailed          422 model_load_failed        Retry-After while it cools down
    └── EngineError
        ├── GenerationFailed         500 generation_failed
        └── WorkerDied               503 worker_died              ``stderr``: the end of what it printed
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any


class ApiHostError(Exception):
    """An error that a caller can read: one sentence with cause and cure.

    Args:
        message: what happened, in which field or file, and what to do.
        retry_after: seconds after which trying again makes sense; becomes the ``Retry-After`` header.
        details: further JSON-able facts, shown beside the message.
    """

    status = 500
    code = "internal_error"

    def __init__(self, message: str, *, retry_after: float | None = None, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after = retry_after
        self.details = details

    def to_dict(self) -> dict[str, Any]:
        """The error as the native dialect shows it: ``{"error", "code", ...details}``."""
        return {"error": self.message, "code": self.code, **self.details}


class InvalidRequest(ApiHostError):
    """The request itself is wrong. ``problems`` holds one sentence for each wrong field."""

    status = 400
    code = "invalid_request"

    def __init__(self, *problems: str, **details: Any) -> None:
        super().__init__("; ".join(problems), **details)
        self.problems = list(problems)

    def to_dict(self) -> dict[str, Any]:
        return {"error": self.problems, "code": self.code, **self.details}


class ModelNotNamed(InvalidRequest):
    code = "model_not_named"


class ContextLengthExceeded(InvalidRequest):
    code = "context_length_exceeded"


class WrongToken(ApiHostError):
    status = 403
    code = "wrong_token"


class BodyTooLarge(ApiHostError):
    status = 413
    code = "body_too_large"


class QueueFull(ApiHostError):
    status = 429
    code = "queue_full"


class HostStopping(ApiHostError):
    status = 503
    code = "host_stopping"


class Cancelled(ApiHostError):
    status = 499
    code = "cancelled"


class TunnelFailed(ApiHostError):
    status = 503
    code = "tunnel_failed"


class ModelError(ApiHostError):
    pass


class RepoNotFound(ModelError):
    status = 404
    code = "repo_not_found"


class ModelFileNotFound(ModelError):
    status = 404
    code = "file_not_found"


class GatedRepo(ModelError):
    status = 403
    code = "gated_repo"


class HubTokenRejected(ModelError):
    status = 403
    code = "hub_token_rejected"


class HubRateLimited(ModelError):
    status = 429
    code = "hub_rate_limited"


class HubUnreachable(ModelError):
    status = 503
    code = "hub_unreachable"


class DownloadStalled(ModelError):
    status = 504
    code = "download_stalled"


class DownloadFailed(ModelError):
    status = 502
    code = "download_failed"


class ChecksumMismatch(ModelError):
    status = 502
    code = "checksum_mismatch"


class DiskFull(ModelError):
    status = 507
    code = "disk_full"


class OutOfMemory(ModelError):
    status = 507
    code = "out_of_memory"


class ModelBusy(ModelError):
    status = 409
    code = "model_busy"


class ModelLoadFailed(ModelError):
    status = 422
    code = "model_load_failed"


class EngineError(ApiHostError):
    pass


class GenerationFailed(EngineError):
    code = "generation_failed"


class WorkerDied(EngineError):
    status = 503
    code = "worker_died"


def _tree(root: type[ApiHostError]) -> dict[str, type[ApiHostError]]:
    found = {root.code: root}
    for child in root.__subclasses__():
        found = {**_tree(child), **found}
    return found


def from_code(code: str, message: str, details: dict[str, Any]) -> ApiHostError:
    """The error that a worker or a download child described by its code; unknown codes stay general."""
    kind = _tree(ApiHostError).get(code, ApiHostError)
    details = dict(details)
    retry_after = details.pop("retry_after", None)
    error = kind(message, **details)
    error.retry_after = retry_after
    return error


def without_paths(text: str, *known: Path) -> str:
    """The text with absolute paths cut down to their last part: what a client may see.

    Args:
        known: folders that the text may name. Their names may have spaces, at which an unknown path would seem to end.
    """
    for folder in sorted(known, key=lambda folder: len(str(folder)), reverse=True):
        text = text.replace(f"{folder}{os.sep}", "")
    return re.sub(r"(?<![\w.:/])/(?:[^/\s'\":]+/)+", "", text)
