"""One file on its way into the hub cache: what an ended child left of it, finishing that, and checking the bytes.

huggingface_hub writes to ``blobs/<etag>*.incomplete`` and holds ``.locks/<repository>/<etag>.lock`` meanwhile. From
1.0 on the name is new in each process and a later one starts from the first byte, and what has arrived is deleted when
the transfer breaks off; a model has too many bytes for that, so it is kept, and what was left is finished here, under
the library's lock, with the library's own ``http_get``.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import Timeout
from huggingface_hub import file_download
from huggingface_hub.file_download import http_get, repo_folder_name
from huggingface_hub.utils import WeakFileLock, build_hf_headers

from api_host.models.cache import blob_of, mark_of
from api_host.models.hub.meter import Meter

_SHA256 = re.compile(r"[0-9a-f]{64}")
_HASH_BYTES = 1024 * 1024
_LOCK_WAIT_S = 0.05
_KEPT = ".kept.incomplete"


def accepted(function: Callable[..., Any], options: dict[str, Any]) -> dict[str, Any]:
    """Those of ``options`` that this version of a library's function takes."""
    names = inspect.signature(function).parameters
    return {name: value for name, value in options.items() if name in names}


def keep_what_arrives() -> None:
    """Has the library leave its partial file when a transfer breaks off, which it would delete."""
    for name in ("http_get", "xet_get"):
        function = getattr(file_download, name, None)
        if function is not None:
            setattr(file_download, name, keeping(function))


def keeping(transfer: Callable[..., None]) -> Callable[..., None]:
    """``transfer``, one of the library's; when it breaks off, its partial file gets a name that nobody deletes."""

    @functools.wraps(transfer)
    def kept(*args: Any, **options: Any) -> None:
        try:
            transfer(*args, **options)
        except OSError:  # the disk's: it needs the room
            raise
        except Exception:
            given = inspect.signature(transfer).bind(*args, **options).arguments
            partial = Path(
                given["incomplete_path"] if "incomplete_path" in given else given["temp_file"].name
            )
            # Its calls of itself have renamed it already, or the file system does not rename what is open.
            with contextlib.suppress(OSError):
                if _size(partial):
                    partial.rename(partial.with_suffix(_KEPT))
            raise

    return kept


class IncomingBlob:
    """The bytes with one ETag in the cache of one repository.

    Args:
        cache_dir: the folder of the hub cache.
        repo_id: the repository.
        etag: as the hub gives it; 64 hexadecimal digits are the sha256 of the bytes.
    """

    def __init__(self, cache_dir: str, repo_id: str, etag: str) -> None:
        root, folder = Path(cache_dir).resolve(), repo_folder_name(repo_id=repo_id, repo_type="model")
        self._path = root / folder / "blobs" / etag
        self._lock = root / ".locks" / folder / f"{etag}.lock"
        self._etag = etag

    @property
    def has_checksum(self) -> bool:
        return _SHA256.fullmatch(self._etag) is not None

    def present(self) -> int:
        """Bytes of it that are on the disk, whole or partial."""
        return self._path.stat().st_size if self._path.is_file() else self.partial_size()

    def partial_size(self) -> int:
        """Bytes of the largest partial file; the whole file's once it is there."""
        sizes = [_size(path) for path in [*self._partials(), self._path]]
        return max(sizes, default=0)

    def is_checked(self) -> bool:
        """Whether the bytes are all there, and not waiting to be compared with their checksum."""
        return self._path.is_file() and not mark_of(self._path).exists()

    def mark_unverified(self) -> None:
        """From now until ``unmark``, the file does not count as cached. A checked one stays what it is."""
        if not self.is_checked():
            self._path.parent.mkdir(parents=True, exist_ok=True)
            mark_of(self._path).touch()

    def unmark(self) -> None:
        # Another process may have fetched the file meanwhile; nobody else writes to what was kept.
        for path in self._path.parent.glob(f"{self._etag}*{_KEPT}"):
            path.unlink(missing_ok=True)
        mark_of(self._path).unlink(missing_ok=True)

    def resume(self, url: str, token: str | None, size: int, meter: Meter) -> bool:
        """Finishes the largest partial file that an ended process left; the library then only links it.

        Without a checksum to tell whether the pieces fit, or while another process downloads the same file,
        nothing is done.

        Returns:
            Whether there was one.
        """
        if not self.has_checksum or self._path.exists() or not self._partials():
            return False
        self._lock.parent.mkdir(parents=True, exist_ok=True)
        try:
            with WeakFileLock(self._lock, timeout=_LOCK_WAIT_S):
                return self._finish_largest(url, token, size, meter)
        except Timeout:
            return False

    def verify(self, path: Path, meter: Meter) -> bool:
        """Whether the bytes behind a path of the cache have their checksum; true when the hub gave none."""
        blob = blob_of(path)
        # Main may have moved since the ETag was asked for; the library names the blob by what it then got.
        expected = blob.name if path.is_symlink() else self._etag
        if _SHA256.fullmatch(expected) is None:
            return True
        digest = hashlib.sha256()
        with blob.open("rb") as file:
            while piece := file.read(_HASH_BYTES):
                digest.update(piece)
                meter.add_activity(len(piece))
        return digest.hexdigest() == expected

    def discard(self, path: Path) -> None:
        """Takes a wrong file out of the cache: the snapshot's link, the bytes, the mark."""
        blob = blob_of(path)
        path.unlink(missing_ok=True)
        blob.unlink(missing_ok=True)
        self.unmark()

    def revision_of(self, path: Path) -> str:
        """The commit of a path in the repository's cache: ``.../snapshots/<commit>/<file name>``."""
        return path.relative_to(self._path.parent.parent / "snapshots").parts[0]

    def _partials(self) -> list[Path]:
        return sorted(self._path.parent.glob(f"{self._etag}*.incomplete"), key=_size)

    def _finish_largest(self, url: str, token: str | None, size: int, meter: Meter) -> bool:
        partials = self._partials()
        # One that is longer than the file can only be wrong, and the hub has nothing to send after its end.
        fitting = [path for path in partials if not 0 < size < _size(path)]
        for path in partials:
            if path not in fitting[-1:]:
                path.unlink()
        if self._path.exists() or not fitting:
            return False
        largest = fitting[-1]
        done = _size(largest)
        meter.set_done(done)
        options = {
            "resume_size": done,
            "headers": build_hf_headers(token=token),
            "expected_size": size or None,
            "tqdm_class": meter.bar_class(),
        }
        with largest.open("ab") as file:
            http_get(url, file, **accepted(http_get, options))
        largest.replace(self._path)
        return True


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except (FileNotFoundError, NotADirectoryError):
        return 0
