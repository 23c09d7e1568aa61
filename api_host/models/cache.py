"""Models on disk: what is there, where, and taking it away.

Knows nothing of the network. The hub cache's layout is huggingface_hub's (its guide "Understand caching"):

    <cache>/models--owner--name/
        blobs/<etag>                       the bytes; the etag of an LFS file is its sha256
        refs/main                          the commit that main was at the last download
        snapshots/<commit>/<file name>     links to the blobs

``blobs/<etag>.unverified`` is this project's own mark: the blob's checksum has not been compared yet, so the
file counts as absent. The library's delete strategy works on whole revisions; a revision of a GGUF repository
holds many models, so files are removed one by one here.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub.constants import HF_HUB_CACHE

from api_host.errors import InvalidRequest, ModelFileNotFound
from api_host.models.gguf_files import first_part, models_among, pick, split_parts
from api_host.models.reference import ModelRef, is_file_name, is_repo_id

UNVERIFIED = ".unverified"


@dataclass
class CachedModel:
    """A model on disk. ``size`` is in bytes over all parts; ``last_used`` is a Unix time in seconds."""

    name: str
    path: Path
    size: int
    last_used: float


class ModelCache:
    """The models below one folder.

    Args:
        models_dir: the folder of the hub cache, below which local GGUFs are found too. None is Hugging Face's
            own cache, without local GGUFs.
    """

    def __init__(self, models_dir: Path | None) -> None:
        self.models_dir = Path(models_dir).expanduser() if models_dir is not None else None
        self.folder = (self.models_dir or Path(HF_HUB_CACHE)).absolute()

    def list(self) -> list[CachedModel]:
        """All complete models, sorted by name; a split one is one entry. What goes meanwhile is left out.

        A name is what ``find`` finds by it: of a local file and one of the hub with the same spelling, the local one.
        """
        found = {
            model.name: model
            for repo_id, files in self._repositories()
            for model in self._entries(f"{repo_id}/", files)
        }
        found.update({model.name: model for model in self._entries("", self.local_files())})
        return sorted(found.values(), key=lambda model: model.name)

    def find(self, ref: ModelRef) -> Path | None:
        """The GGUF (the first part of a split one) that ``ref`` means, if all of it is here; else None.

        A local file wins over a file of the hub with the same spelling.
        """
        local = self._find_local(ref.name)
        if local is not None or ref.repo_id is None:
            return local
        files = self.files_of(ref.repo_id)
        if ref.file_name is None:
            name = pick(files, ref.quant)
            return files[name] if name is not None else None
        parts = split_parts(ref.file_name)
        return files[parts[0]] if all(part in files for part in parts) else None

    def files_of(self, repo_id: str) -> dict[str, Path]:
        """The GGUF files of a hub repository that are cached, by name: whole ones, with all their parts."""
        return self._files_in(self.folder / f"models--{repo_id.replace('/', '--')}")

    def models_of(self, repo_id: str) -> Sequence[CachedModel]:
        """Those of a hub repository, sorted by name, whatever local files there are beside it."""
        return list(self._entries(f"{repo_id}/", self.files_of(repo_id)))

    def rest_of(self, repo_id: str) -> int:
        """Bytes that are cached of it beside those: files of other programs, downloads that are not done."""
        repository = self.folder / f"models--{repo_id.replace('/', '--')}"
        all_of_it = sum(_bytes_below(repository / part) for part in ("blobs", "snapshots"))
        return max(0, all_of_it - sum(model.size for model in self.models_of(repo_id)))

    def local_files(self) -> dict[str, Path]:
        """The GGUF files below ``models_dir`` that are no part of the hub cache, by relative path."""
        if self.models_dir is None or not self.folder.is_dir():
            return {}
        return {name: path for name, path in _ggufs(self.folder) if self._is_local(path)}

    def remove(self, ref: ModelRef) -> int:
        """Takes a model from the disk, all its parts; ``owner/name`` alone takes all that is cached of it.

        Returns:
            The bytes that were freed.

        Raises:
            InvalidRequest: the demo model belongs to the program.
            ModelFileNotFound: it is not here; ``available`` lists what is.
        """
        if ref.is_demo:
            raise InvalidRequest("model: the demo model is part of the program and cannot be removed")
        local = self._find_local(ref.name)
        if local is not None:
            folder = local.parent
            return sum(_unlink(folder / part) for part in split_parts(local.name) if (folder / part).exists())
        freed = self._remove_cached(ref) if ref.repo_id is not None else None
        if freed is None:
            available = [model.name for model in self.list()]
            raise ModelFileNotFound(
                f"{ref.name} is not on this disk, so there is nothing to remove", available=available
            )
        return freed

    def _find_local(self, name: str) -> Path | None:
        if self.models_dir is None or not name.lower().endswith(".gguf"):
            return None
        parts = [self.folder / part for part in split_parts(name)]
        return parts[0] if all(self._is_local(part) for part in parts) else None

    def _is_local(self, path: Path) -> bool:
        relative = path.relative_to(self.folder).parts
        if relative[0].startswith("models--") or any(part.startswith(".") for part in relative):
            return False
        # A link must not lead out of the folder that the host's owner has named.
        return path.is_file() and path.resolve().is_relative_to(self.folder.resolve())

    def _repositories(self) -> Iterator[tuple[str, dict[str, Path]]]:
        for folder in sorted(self.folder.glob("models--*--*")):
            owner, _, name = folder.name.removeprefix("models--").partition("--")
            if is_repo_id(f"{owner}/{name}"):
                yield f"{owner}/{name}", self._files_in(folder)

    def _files_in(self, repository: Path) -> dict[str, Path]:
        files: dict[str, Path] = {}
        for snapshot in _snapshots(repository):
            here = {name: path for name, path in sorted(_ggufs(snapshot)) if _is_whole(path)}
            # llama.cpp looks for the parts of a split file beside the first one: they count within one snapshot.
            for name, path in here.items():
                if here.keys() >= set(split_parts(name)):
                    files.setdefault(name, path)
        return files

    def _entries(self, before: str, files: dict[str, Path]) -> Iterator[CachedModel]:
        for name in models_among(files):
            with contextlib.suppress(FileNotFoundError):
                yield self._entry(f"{before}{name}", [files[part] for part in split_parts(name)])

    def _entry(self, name: str, parts: Sequence[Path]) -> CachedModel:
        facts = [part.stat() for part in parts]
        used = max(max(fact.st_atime, fact.st_mtime) for fact in facts)
        return CachedModel(name, parts[0], sum(fact.st_size for fact in facts), used)

    def _remove_cached(self, ref: ModelRef) -> int | None:
        repository = self.folder / f"models--{(ref.repo_id or '').replace('/', '--')}"
        if ref.file_name is None and ref.quant is None:
            return _remove_tree(repository) if repository.is_dir() else None
        name = (
            pick(self.files_of(ref.repo_id or ""), ref.quant)
            if ref.quant
            else first_part(ref.file_name or "")
        )
        wanted = set(split_parts(name)) if name else set()
        snapshots = _snapshots(repository)
        links = [
            snapshot / part
            for snapshot in snapshots
            for part in sorted(wanted)
            if (snapshot / part).is_file()
        ]
        if not links:
            return None
        freed = sum(_unlink_with_blob(link, repository) for link in links)
        is_empty = not any(path.is_file() for snapshot in snapshots for path in snapshot.rglob("*"))
        # What has come of another file is its next download's.
        if is_empty and not any((repository / "blobs").glob("*.incomplete")):
            freed += _remove_tree(repository)
        return freed


def blob_of(path: Path) -> Path:
    """The blob that a file of a snapshot links to; the file itself where the disk has no links."""
    return path.parent.joinpath(path.readlink()) if path.is_symlink() else path


def mark_of(blob: Path) -> Path:
    """The mark beside a blob whose checksum has not been compared yet."""
    return blob.with_name(blob.name + UNVERIFIED)


def _ggufs(folder: Path) -> list[tuple[str, Path]]:
    """The GGUFs below a folder, by relative path: those that a reference can name, which have harmless letters."""
    # Unlike rglob, a walk goes on when a folder in it goes.
    walk = os.walk(folder)
    found = [Path(here, name) for here, _, names in walk for name in names if name.lower().endswith(".gguf")]
    named = [(path.relative_to(folder).as_posix(), path) for path in found]
    return [(name, path) for name, path in named if is_file_name(name)]


def _is_whole(path: Path) -> bool:
    """Whether a file of a snapshot is there, and its checksum compared."""
    try:
        return path.is_file() and not mark_of(blob_of(path)).exists()
    except FileNotFoundError:
        return False


def _snapshots(repository: Path) -> list[Path]:
    """The revisions in a repository's folder: the one that main is at first, then the latest; none of one that goes."""
    folder = repository / "snapshots"
    main = repository / "refs" / "main"
    try:
        head = main.read_text(errors="replace").strip() if main.is_file() else ""
        snapshots = [path for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []
        return sorted(snapshots, key=lambda path: (path.name != head, -path.stat().st_mtime))
    except FileNotFoundError:
        return []


def _unlink(path: Path) -> int:
    size = path.stat().st_size if not path.is_symlink() else 0
    path.unlink()
    return size


def _unlink_with_blob(link: Path, repository: Path) -> int:
    """Removes a snapshot's link, and its blob when no other link leads to it."""
    blob = blob_of(link).resolve()
    freed = _unlink(link)
    shared = any(path.resolve() == blob for path in (repository / "snapshots").rglob("*") if path.is_file())
    if blob.is_file() and not shared:
        freed += _unlink(blob)
        mark_of(blob).unlink(missing_ok=True)
    return freed


def _remove_tree(folder: Path) -> int:
    freed = _bytes_below(folder)
    shutil.rmtree(folder)
    return freed


def _bytes_below(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
