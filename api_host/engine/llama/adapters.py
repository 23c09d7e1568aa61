"""LoRA adapters of one model: loaded when first asked for, and switched on a context as a whole set.

Knows files and llama.cpp, nothing of requests.
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import llama_cpp

from api_host.engine.backend import Adapters
from api_host.engine.llama.model import LlamaModel, recent_errors
from api_host.errors import InvalidRequest, without_paths

# Each stays in memory as long as its model; who needs more starts over with an unload.
MAX_LOADED = 32


class LlamaAdapters:
    """The adapters that a model has met; they go when the model goes."""

    def __init__(self, model: LlamaModel) -> None:
        self._model = model
        self._loaded: dict[str, Any] = {}

    def load(self, adapters: Adapters) -> None:
        """Has these adapters ready.

        Raises:
            InvalidRequest: a file is no adapter for this model, or the model has met too many.
        """
        for index, (path, _) in enumerate(adapters):
            if path in self._loaded:
                continue
            if len(self._loaded) >= MAX_LOADED:
                raise InvalidRequest(
                    f"options.lora: {MAX_LOADED} adapters are loaded beside this model already; unload it first"
                )
            recent_errors.clear()
            pointer = llama_cpp.llama_adapter_lora_init(self._model.pointer, path.encode())
            if not pointer:
                said = recent_errors[-1] if recent_errors else "llama.cpp gave no reason"
                reason = without_paths(said, Path(path).parent)
                raise InvalidRequest(f"options.lora.{index}: this is no adapter for this model ({reason})")
            self._loaded[path] = pointer

    def use(self, context: object, adapters: Adapters) -> None:
        """The next decodes of ``context`` are made with these loaded adapters, and no others."""
        pointers = (llama_cpp.llama_adapter_lora_p_ctypes * len(adapters))(
            *(self._loaded[path] for path, _ in adapters)
        )
        scales = (ctypes.c_float * len(adapters))(*(scale for _, scale in adapters))
        code = llama_cpp.llama_set_adapters_lora(context, pointers, len(adapters), scales)
        assert code == 0, f"llama_set_adapters_lora answered {code}"
