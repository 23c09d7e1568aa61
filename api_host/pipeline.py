"""The one way through the house: a request finds its model, runs on it, and its events come out.

Knows nothing of HTTP and nothing of what is behind a worker.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from api_host.answering import Generation
from api_host.errors import ModelFileNotFound, ModelNotNamed
from api_host.generation import (
    Adapter,
    EmbeddingRequest,
    GenerationRequest,
    LoadOptions,
)
from api_host.models.cache import CachedModel
from api_host.models.details import ModelDetails, details_of
from api_host.models.pool.entry import unseen
from api_host.models.pool.pool import ModelPool
from api_host.models.reference import DEMO, ModelRef, parse_reference
from api_host.pulling import Pull


@dataclass(frozen=True)
class Defaults:
    """What a request takes that leaves it open; as in HostConfig."""

    chat_format: str | None = None
    seed: int | None = None
    lora: Sequence[str] = ()


class Pipeline:
    """What the web layer asks.

    Args:
        pool: the models.
        default_model: the reference of requests that name none; None refuses those.
        list_cached: the models on this disk, for ``models``.
        defaults: what requests that leave it open take; its ``lora`` only those to the default model.

    Raises:
        InvalidRequest: ``default_model`` is no reference.
    """

    def __init__(
        self,
        pool: ModelPool,
        default_model: str | None,
        list_cached: Callable[[], list[CachedModel]] = list,
        defaults: Defaults | None = None,
    ) -> None:
        self._pool = pool
        self._defaults = defaults or Defaults()
        self._default = parse_reference(default_model) if default_model is not None else None
        self._list_cached = list_cached

    @property
    def default_model(self) -> str | None:
        """The default model's canonical name."""
        return self._default.name if self._default is not None else None

    def canonical(self, model: str | None) -> str:
        """A model's one name, however it is spelled (None: the default). Raises InvalidRequest, ModelNotNamed."""
        return self._ref(model).name

    def generate(self, request: GenerationRequest) -> Generation:
        """The answer to a request, which begins when it is iterated over.

        Raises:
            ModelNotNamed: no model is named and the host has no default.
            InvalidRequest: the model's name is none.
            HostStopping, QueueFull, ModelLoadFailed, OutOfMemory, HubRateLimited: as ``ModelPool.check``.
        """
        return self._generation(request)

    def count(self, request: GenerationRequest) -> Generation:
        """The number of tokens of a prompt: Waiting events, Accepted, Finished. Raises as ``generate``."""
        return self._generation(request, count_only=True)

    def embed(self, request: EmbeddingRequest) -> Generation:
        """The vectors of texts: Waiting events, Accepted, Vectors, Finished. Raises as ``generate``."""
        ref = self._ref(request.model)
        self._pool.check(ref, request.options)
        return Generation(self._pool, ref, request.options, request)

    def load(self, model: str | None, options: LoadOptions) -> Generation:
        """Has a model loaded (None: the default): Waiting events, Accepted, Finished. Raises as ``generate``."""
        ref = self._ref(model)
        self._pool.check(ref, options)
        return Generation(self._pool, ref, options, None)

    def pull(self, model: str) -> Pull:
        """Has a model on this disk, without loading it: Waiting events, Accepted, Finished.

        Raises:
            InvalidRequest: no such name.
        """
        return Pull(self._pool.source, parse_reference(model))

    def details(self, model: str) -> ModelDetails:
        """What the file of a model on this disk says. Raises InvalidRequest, ModelFileNotFound: it is not here."""
        ref = parse_reference(model)
        path = self._pool.source.locate(ref)
        if path is None:
            raise ModelFileNotFound(
                f"{ref.name} is not on this disk; a request for it, or a pull, fetches it"
            )
        return details_of(ref.name, path)

    def preload(self) -> None:
        """Begins to load the default model, so that the first request finds it."""
        if self._default is not None:
            self._pool.acquire(self._default, LoadOptions()).release()

    def unload(self, model: str) -> None:
        """Ends a model that is idle, or its load.

        Raises:
            InvalidRequest, ModelFileNotFound: no such model here. ModelBusy: it is in use.
        """
        ref = parse_reference(model)
        self._pool.unload(ref.name, self._pool.source.locate(ref))

    def models(self) -> list[dict[str, Any]]:
        """The models of ``GET /api/models``: those asked for, the default, the demo, and those on this disk."""
        on_disk = self._list_cached()
        files = {cached.name: cached.path.resolve() for cached in on_disk}
        found = {entry["name"]: entry for entry in self._pool.entries(files)}
        for cached in on_disk:
            found.setdefault(cached.name, unseen(cached.name, cached.size))
        for name in (self.default_model, DEMO):
            if name is not None:
                found.setdefault(name, unseen(name))
        return sorted(found.values(), key=lambda model: model["name"])

    def _generation(self, request: GenerationRequest, count_only: bool = False) -> Generation:
        ref = self._ref(request.model)
        self._pool.check(ref, request.options)
        defaults = self._defaults
        sampling, lora = request.sampling, request.lora
        if sampling.seed is None and defaults.seed is not None:
            sampling = replace(sampling, seed=defaults.seed)
        if lora is None and ref == self._default:
            lora = [Adapter(name) for name in defaults.lora]
        for adapter in lora or ():
            parse_reference(adapter.model)
        chat_format = request.chat_format or defaults.chat_format
        request = replace(request, sampling=sampling, lora=lora, chat_format=chat_format)
        return Generation(self._pool, ref, request.options, request, count_only=count_only)

    def _ref(self, model: str | None) -> ModelRef:
        if model is not None:
            return parse_reference(model)
        if self._default is None:
            raise ModelNotNamed(
                "model: is missing, and this host has no default model; name one as owner/name:Q4_K_M, "
                "owner/name/file.gguf or demo, or with repo_id and file_name"
            )
        return self._default
