"""The download child: fetches one model into the hub cache, says how far it is, and ends.

Started as ``python -m api_host.models.hub.download`` with a Download on stdin (so no token is on a command line). A
process of its own, because a stalled transfer can only be ended with its process, and because the library reads
``HF_HUB_DISABLE_XET`` when it is imported. Decides nothing about trying again: that is the host's.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

import huggingface_hub
from huggingface_hub import constants, get_hf_file_metadata, hf_hub_download, hf_hub_url
from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

from api_host.errors import (
    ApiHostError,
    ChecksumMismatch,
    DiskFull,
    DownloadFailed,
    HubTokenRejected,
    HubUnreachable,
    ModelFileNotFound,
)
from api_host.models.gguf_files import models_among, pick, split_parts
from api_host.models.hub.blobs import IncomingBlob, accepted, keep_what_arrives
from api_host.models.hub.errors import translate
from api_host.models.hub.messages import (
    Done,
    Download,
    Failed,
    FromChild,
    Interrupted,
    encode,
    request_decoder,
)
from api_host.models.hub.meter import Meter
from api_host.models.reference import is_file_name

HUB_ANSWER_S = 10.0
"""Seconds that the hub may take to answer a question; the same as the library's own."""

READ_BYTES = 256 * 1024
"""Bytes that the library reads at once. Its own 10 MB show no progress for a minute on a slow line."""


MAX_SHOWN = 20
"""File names that an error's sentence lists; its ``available`` has all."""

_NO_HUB = "the hub's address does not answer like a hub: check HF_ENDPOINT and this host's proxy"
_ETAG = re.compile(r"[A-Za-z0-9._-]+")


class _Interruption(Exception):
    """The transfer broke off after it had begun."""


@dataclass
class RemoteFile:
    """One file as the hub describes it; ``size`` in bytes, ``etag`` its sha256 if it is kept in LFS."""

    name: str
    size: int
    etag: str


def main() -> None:
    """Reads the request, fetches, and writes the outcome; an error that nobody expected goes to stderr."""
    # Anything that a library prints must not get between the messages.
    out = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    # Unbuffered: a thread that waits inside a buffered reader makes the interpreter abort at its end.
    stdin = os.fdopen(os.dup(sys.stdin.fileno()), "rb", buffering=0)
    request = request_decoder.decode(stdin.readline())
    threading.Thread(target=_end_with_the_host, args=(stdin,), daemon=True).start()
    constants.DOWNLOAD_CHUNK_SIZE = READ_BYTES
    keep_what_arrives()
    lock = threading.Lock()

    def send(message: FromChild) -> None:
        with lock:
            out.write(encode(message) + b"\n")

    send(_outcome(request, send))


def _end_with_the_host(stdin: FileIO) -> None:
    stdin.readall()
    os._exit(1)


def _outcome(request: Download, send: Callable[[FromChild], None]) -> FromChild:
    try:
        return Done(str(fetch(request, send)))
    except _Interruption as broken:
        return Interrupted(str(broken))
    except ApiHostError as error:
        return Failed(error.code, error.message, error.details, error.retry_after)


def fetch(request: Download, send: Callable[[FromChild], None]) -> Path:
    """Fetches all parts of a model and checks them.

    Args:
        request: which model, and the cache to put it in.
        send: takes a Moved for each bit of progress.

    Returns:
        The path of its GGUF in the cache, the first part of a split one.

    Raises:
        ApiHostError: any of the hub's and the disk's errors.
    """
    with _told(request):
        names = _names(request)
        try:
            files = [_describe(request, name) for name in names]
        except ModelFileNotFound as error:
            raise _not_there(request, _listing(request)) from error
    blobs = [IncomingBlob(request.cache_dir, request.repo_id, file.etag) for file in files]
    _check_disk(request, files, blobs)
    total, present = sum(file.size for file in files), sum(blob.present() for blob in blobs)
    with Meter(send, names[0], total, present) as meter:
        paths: list[Path] = []
        for file, blob in zip(files, blobs, strict=True):
            # Main may move while parts come in; llama.cpp wants them all in the folder of one revision.
            revision = None if not paths else blob.revision_of(paths[0])
            paths.append(_transfer(request, file, blob, revision, meter))
            meter.finish_file(file.size)
    return paths[0]


def _names(request: Download) -> list[str]:
    if request.file_name is not None:
        return split_parts(request.file_name)
    listing = _listing(request)
    name = pick(listing, request.quant)
    if name is None:
        raise _not_there(request, listing)
    return split_parts(name)


def _listing(request: Download) -> list[str]:
    """The names of all GGUFs on main; asked once, without the library's minute of trying again."""
    url: str | None = f"{constants.ENDPOINT}/api/models/{request.repo_id}/tree/main?recursive=true"
    headers = build_hf_headers(token=request.token)
    names: list[str] = []
    while url is not None:
        response = get_session().get(url, headers=headers, timeout=HUB_ANSWER_S)
        hf_raise_for_status(response)
        try:
            names += [entry["path"] for entry in response.json() if entry.get("type") == "file"]
        except (ValueError, TypeError, AttributeError, KeyError):
            raise DownloadFailed(_NO_HUB) from None
        url = response.links.get("next", {}).get("url")
    # A name that no reference can have could steer a terminal, or lead out of a folder.
    return [name for name in names if is_file_name(name)]


def _not_there(request: Download, listing: list[str]) -> ModelFileNotFound:
    models = models_among(listing)
    if not models:
        return ModelFileNotFound(
            f"{request.repo_id} has no GGUF at all: choose another repository", available=[]
        )
    if request.file_name is not None:
        what = f"no file {request.file_name}"
    else:
        what = f"no GGUF of {request.quant}" if request.quant else "no GGUF that its name alone could mean"
    more = f" and {len(models) - MAX_SHOWN} more" if len(models) > MAX_SHOWN else ""
    there = ", ".join(models[:MAX_SHOWN])
    return ModelFileNotFound(
        f"{request.repo_id} has {what}; name one of these: {there}{more}", available=models
    )


def _describe(request: Download, name: str) -> RemoteFile:
    with _told(request):
        url = hf_hub_url(request.repo_id, name)
        facts = get_hf_file_metadata(url, token=request.token, timeout=HUB_ANSWER_S)
    if facts.commit_hash is None or _ETAG.fullmatch(facts.etag or "") is None:
        raise DownloadFailed(_NO_HUB)
    return RemoteFile(name, facts.size or 0, facts.etag or "")


def _check_disk(request: Download, files: list[RemoteFile], blobs: list[IncomingBlob]) -> None:
    missing = sum(max(0, file.size - blob.present()) for file, blob in zip(files, blobs, strict=True))
    folder = Path(request.cache_dir)
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if missing and free < missing + request.disk_reserve:
        raise DiskFull(
            f"{files[0].name} needs {missing:,} bytes and {request.disk_reserve:,} must stay free, but the disk has"
            f" {free:,}: free space, choose a smaller file, or set models_dir to a larger disk",
            needed=missing + request.disk_reserve,
            free=free,
        )


def _transfer(
    request: Download, file: RemoteFile, blob: IncomingBlob, revision: str | None, meter: Meter
) -> Path:
    """One file, from the hub or from where an ended child left it, into the cache; checked."""
    with _told(request, transferring=True):
        checked = blob.is_checked()
        blob.mark_unverified()
        meter.watch(blob.partial_size)
        resumed = blob.resume(hf_hub_url(request.repo_id, file.name), request.token, file.size, meter)
        path = _download(request, file, revision, meter)
        if checked or blob.verify(path, meter):
            blob.unmark()
            return path
        blob.discard(path)
    if resumed:
        # The part that was left behind may be what is wrong: once more, from the first byte.
        return _transfer(request, file, blob, revision, meter)
    raise ChecksumMismatch(
        f"{file.name} of {request.repo_id} arrived with a wrong checksum and was deleted: try again, and if it"
        " happens again, choose another file"
    )


def _download(request: Download, file: RemoteFile, revision: str | None, meter: Meter) -> Path:
    options: dict[str, Any] = {
        "repo_id": request.repo_id,
        "filename": file.name,
        "revision": revision,
        "cache_dir": Path(request.cache_dir).resolve(),
        "token": request.token,
        "tqdm_class": meter.bar_class(),
    }
    return Path(hf_hub_download(**accepted(hf_hub_download, options)))


@contextmanager
def _told(request: Download, transferring: bool = False) -> Iterator[None]:
    """Tells the library's errors as the project's; while transferring, what may pass by itself is an interruption."""
    try:
        yield
    except (ApiHostError, _Interruption):
        raise
    except Exception as error:
        told = translate(error, request.repo_id, constants.ENDPOINT)
        # A refusal after the first answer was a yes is a link that has expired on the way.
        if transferring and (told is None or isinstance(told, HubUnreachable | HubTokenRejected)):
            raise _Interruption(f"{type(error).__name__}: {error}") from error
        if told is None:
            raise
        raise told from error


if __name__ == "__main__":
    huggingface_hub.logging.set_verbosity_error()
    main()
