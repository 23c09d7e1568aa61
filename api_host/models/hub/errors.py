"""What the hub library raises, told as this project's errors: each with its cause and its cure.

Used in the download child only; knows neither processes nor files.
"""

from __future__ import annotations

import errno
import re
from typing import Any

from huggingface_hub.errors import (
    DisabledRepoError,
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from api_host.errors import (
    ApiHostError,
    DiskFull,
    DownloadFailed,
    GatedRepo,
    HubRateLimited,
    HubTokenRejected,
    HubUnreachable,
    ModelFileNotFound,
    RepoNotFound,
)

_NETWORK_PACKAGES = ("httpx", "httpx2", "httpcore", "httpcore2", "requests", "urllib3", "ssl", "socket")
_ABOUT_THE_TOKEN = re.compile(r"credential|\btoken\b", re.IGNORECASE)
_RATE_LIMIT_WAIT_S = 60.0


def translate(error: BaseException, repo_id: str, endpoint: str) -> ApiHostError | None:
    """The error of the tree that says what ``error`` means for the repository.

    Args:
        error: what a call of huggingface_hub raised, of any version from 0.30.
        repo_id: the repository that was asked for.
        endpoint: the hub's address, for the page where a licence is accepted.

    Returns:
        The error to show, or None when ``error`` is none of the hub's, the network's or the disk's.
    """
    if isinstance(error, LocalEntryNotFoundError) and error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, OfflineModeIsEnabled):
        return HubUnreachable(
            "the hub library is set offline: unset HF_HUB_OFFLINE, or use a model that is cached"
        )
    if isinstance(error, HfHubHTTPError) and getattr(error, "response", None) is not None:
        return _from_answer(error, repo_id, endpoint)
    if isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError):
        return ModelFileNotFound(f"{repo_id} has no such file")
    if _is_network(error):
        return HubUnreachable(
            f"the hub cannot be reached ({type(error).__name__}): check this host's network"
        )
    return _from_disk(error) if isinstance(error, OSError) else None


def _from_answer(error: HfHubHTTPError, repo_id: str, endpoint: str) -> ApiHostError:
    # Gated is a kind of not found in the library's tree, so it is asked first.
    if isinstance(error, GatedRepoError):
        page = f"{endpoint}/{repo_id}"
        return GatedRepo(
            f"{repo_id} is gated: accept its licence on {page} and set hub_token to a token of that account",
            accept_at=page,
        )
    status = error.response.status_code
    headers = error.response.headers
    if status == 401 and _ABOUT_THE_TOKEN.search(headers.get("X-Error-Message") or ""):
        return HubTokenRejected(
            "the hub rejects the hub token: it is wrong or expired; set hub_token to a valid one"
        )
    if isinstance(error, DisabledRepoError):
        return RepoNotFound(f"{repo_id} has been disabled on the hub; choose another repository")
    if isinstance(error, RevisionNotFoundError):
        return RepoNotFound(f"{repo_id} has no branch main on the hub; choose another repository")
    if isinstance(error, EntryNotFoundError):
        return ModelFileNotFound(f"{repo_id} has no such file")
    if isinstance(error, RepositoryNotFoundError) or status in (401, 404):
        return RepoNotFound(
            f"{repo_id} is not on the hub, or it is private: check the spelling, or set hub_token to a token that may"
            " read it"
        )
    return _from_status(status, headers, repo_id)


def _from_status(status: int, headers: Any, repo_id: str) -> ApiHostError:
    if status == 403:
        return HubTokenRejected(
            f"the hub forbids reading {repo_id}: set hub_token to a token that may read it"
        )
    if status == 429:
        wait = _seconds(headers)
        return HubRateLimited(
            f"the hub limits requests from this host's address: try again in {wait:.0f} s, or set hub_token",
            retry_after=wait,
        )
    if status >= 500 or status == 408:
        return HubUnreachable(
            f"the hub answers {status}: it is in trouble, try again later", retry_after=30.0
        )
    return DownloadFailed(
        f"the hub refuses to send {repo_id} (HTTP {status}); try another file or repository"
    )


def _seconds(headers: Any) -> float:
    try:
        return max(0.0, float(headers.get("Retry-After") or _RATE_LIMIT_WAIT_S))
    except ValueError:
        return _RATE_LIMIT_WAIT_S


def _is_network(error: BaseException) -> bool:
    packages = {kind.__module__.partition(".")[0] for kind in type(error).__mro__}
    return isinstance(error, ConnectionError | TimeoutError) or not packages.isdisjoint(_NETWORK_PACKAGES)


def _from_disk(error: OSError) -> ApiHostError | None:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(
            "the disk became full during the download: free space, or set models_dir to a larger disk"
        )
    if error.errno == errno.EFBIG:
        return DiskFull(
            "the file is larger than the disk's file system or this user's limit allows: choose a smaller file, or set"
            " models_dir to another disk"
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
        return DownloadFailed(
            "the models folder cannot be written: set models_dir to a folder that this user may write"
        )
    return None
