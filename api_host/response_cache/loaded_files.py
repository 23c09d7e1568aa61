"""Which file each model in memory was read from: an answer of its weights is not one of a file that came later.

Knows workers by what they are told to load.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from api_host.engine.messages import Load
from api_host.models.pool.loaded import RunningWorker, StartWorker
from api_host.response_cache.key import files_identity


class LoadedFiles:
    """The files of the models in memory, as they were when the loads of these began. Safe from any thread."""

    def __init__(self) -> None:
        self._begun: dict[Path, tuple[str | None]] = {}

    def noting(self, start: StartWorker) -> StartWorker:
        """``start``, which then notes here what it loads, until the worker has ended."""

        def noted(
            load: Load,
            on_exit: Callable[[Any], None] | None = None,
            on_start: Callable[[Any], None] | None = None,
        ) -> RunningWorker:
            file = Path(load.path).resolve()
            identity = (files_identity([file]),)
            self._begun[file] = identity

            def ended(worker: RunningWorker) -> None:
                # Another load of the file may have begun by now.
                if self._begun.get(file) is identity:
                    del self._begun[file]
                if on_exit is not None:
                    on_exit(worker)

            return start(load, on_exit=ended, on_start=on_start)

        return noted

    def has(self, path: Path | None) -> bool:
        """Whether a model in memory was read from what this file is now."""
        if path is None:
            return False
        file = path.resolve()
        begun = self._begun.get(file)
        return begun is not None and begun == (files_identity([file]),)
