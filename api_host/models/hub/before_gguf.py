"""A hub that also takes GGML files from before GGUF, and makes GGUFs of them.

Knows under which names such a file may lie where a GGUF is asked for; how it is converted is ``models.ggml``'s.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from api_host.errors import ModelFileNotFound
from api_host.models.ggml import convert_file, is_ggml
from api_host.models.hub.hub import Hub, OnProgress
from api_host.models.reference import ModelRef

SUFFIXES = (".bin", ".ggml", "")
"""What a GGML file's name may end in where that of its GGUF ends in ``.gguf``; tried in this order."""


class ConvertingHub(Hub):
    """As Hub; asked for ``name.gguf`` where there is none, it converts ``name.bin``, and keeps the GGUF beside it.

    Files below ``models_dir`` come first, then those of the hub. Once converted, the GGUF is found like any other.
    """

    def fetch(
        self, ref: ModelRef, on_progress: OnProgress | None = None, cancel: threading.Event | None = None
    ) -> Path:
        """As ``Hub.fetch``.

        Raises:
            ModelLoadFailed: the file cannot be converted, with the reason. DiskFull: there is no room for the GGUF.
        """
        local = next((path for path in self._local(ref) if is_ggml(path)), None)
        if local is not None and self.locate(ref) is None:
            return convert_file(local)
        try:
            return super().fetch(ref, on_progress, cancel)
        except ModelFileNotFound as missing:
            for older in _older(ref):
                try:
                    path = super().fetch(older, on_progress, cancel)
                except ModelFileNotFound:
                    continue
                return convert_file(path)
            raise missing

    def _local(self, ref: ModelRef) -> Iterator[Path]:
        """Where a local GGML file may lie; a link must not lead out of the folder that the host's owner has named."""
        folder = self.cache.models_dir
        if folder is None or not ref.name.lower().endswith(".gguf"):
            return
        for name in _older_names(ref.name):
            path = folder.absolute() / name
            if path.resolve().is_relative_to(folder.resolve()):
                yield path


def _older(ref: ModelRef) -> Iterator[ModelRef]:
    if ref.repo_id is not None and ref.file_name is not None:
        for name in _older_names(ref.file_name):
            yield replace(ref, file_name=name)


def _older_names(name: str) -> Iterator[str]:
    stem = name[: -len(".gguf")]
    return (f"{stem}{suffix}" for suffix in SUFFIXES)
