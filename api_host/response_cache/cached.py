"""A pipeline with a memory: what it has answered before, and would answer the same, is not generated again.

Knows which requests may be answered so, nothing of HTTP and nothing of where answers are kept. Two that ask the same
at once are both generated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum, auto
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

from api_host import __version__
from api_host.config import HostConfig
from api_host.generation import GenerationRequest
from api_host.metrics import Metrics
from api_host.models.reference import ModelRef, parse_reference
from api_host.response_cache.answer import KeptAnswer, is_cut_short, unpack
from api_host.response_cache.key import cache_key, files_identity
from api_host.response_cache.loaded_files import LoadedFiles
from api_host.response_cache.replay import Generation, Recording, Replay
from api_host.response_cache.store import Store


class Use(Enum):
    """What the cache may do for a request: all; only keep the new answer; nothing."""

    FULL = auto()
    REFRESH = auto()
    NONE = auto()


class Terms(Protocol):
    """What the request at hand allows, and where it is told what became of it."""

    def use(self) -> Use: ...

    def told(self, hit: bool) -> None:
        """Called once for each generation that the cache has a part in."""


class Generating(Protocol):
    """What the cache needs of the pipeline behind it."""

    def generate(self, request: GenerationRequest) -> Any: ...

    def canonical(self, model: str | None) -> str: ...


P = TypeVar("P", bound=Generating)

# The settings by which two hosts may answer the same request differently.
_IN_EVERY_ANSWER = {
    "model",
    "ctx_length",
    "cache_type",
    "rope_freq_base",
    "rope_freq_scale",
    "chat_format",
    "seed",
    "lora",
}


class CachedPipeline:
    """The pipeline behind it in everything but ``generate``.

    Args:
        pipeline: answers what is not known yet.
        store: keeps the answers.
        metrics: where hits and misses are counted.
        files_of: what tells the files of these models from others; None while one is not on this disk.
        is_loaded: whether a model's weights in memory are those of its file.
        scope: the host's settings that have a part in every answer.
        seeded: whether the host has a seed for requests without one.
        terms: of the request at hand.
    """

    def __init__(
        self,
        pipeline: Generating,
        store: Store,
        metrics: Metrics,
        terms: Terms,
        files_of: Callable[[Sequence[str]], str | None],
        is_loaded: Callable[[str], bool],
        scope: str = "",
        seeded: bool = False,
    ) -> None:
        self._pipeline = pipeline
        self._store = store
        self._metrics = metrics
        self._files_of = files_of
        self._is_loaded = is_loaded
        self._scope = scope
        self._seeded = seeded
        self._terms = terms

    def generate(self, request: GenerationRequest) -> Generation:
        """The kept answer, or a new one, which is kept when it is whole.

        Raises:
            ApiHostError: as the pipeline behind it; of a kept answer, only what is wrong with the model's name.
        """
        use = self._terms.use()
        if use is Use.NONE or not (self._seeded or request.sampling.is_repeatable):
            return cast(Generation, self._pipeline.generate(request))
        kept = self._find(request) if use is Use.FULL else None
        self._metrics.cache_asked(hit=kept is not None)
        self._terms.told(hit=kept is not None)
        if kept is not None:
            return Replay(kept)
        # Which token's probability belongs to the text, and not to a call, is told by the piece it came with.
        in_pieces = request.each_token or request.sampling.logprobs is not None
        return Recording(self._pipeline.generate(request), self._keeper(request), in_pieces)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pipeline, name)

    def _key(self, request: GenerationRequest) -> str | None:
        """None while the model is not on this disk: only its file says which model that is."""
        model = self._pipeline.canonical(request.model)
        files = self._files_of([model, *[adapter.model for adapter in request.lora or ()]])
        return cache_key(request, model, files, self._scope) if files is not None else None

    def _find(self, request: GenerationRequest) -> KeptAnswer | None:
        key = self._key(request)
        packed = self._store.get(key) if key is not None else None
        return unpack(packed) if packed is not None else None

    def _keeper(self, request: GenerationRequest) -> Callable[[KeptAnswer], None]:
        def keep(answer: KeptAnswer) -> None:
            key = self._key(request)  # by now the model's file has come
            if key is None or is_cut_short(answer, request):
                return
            # Asked after the key is known: a file that is replaced in between is not the loaded one.
            if self._is_loaded(self._pipeline.canonical(request.model)):
                self._store.put(key, answer.pack())

        return keep


def with_cache(
    pipeline: P,
    store: Store | None,
    metrics: Metrics,
    terms: Terms,
    config: HostConfig,
    locate: Callable[[ModelRef], Path | None],
    loaded: LoadedFiles,
) -> P:
    """The pipeline of a host with a cache before it; without a store, the pipeline itself.

    Args:
        config: the host's settings.
        locate: where a model's file is on this disk; None for nowhere.
        loaded: of which files there are models in memory.
        pipeline, store, metrics, terms: as CachedPipeline's.
    """
    if store is None:
        return pipeline

    def files_of(models: Sequence[str]) -> str | None:
        return files_identity(locate(parse_reference(model)) for model in (*models, *config.lora))

    def is_loaded(model: str) -> bool:
        return loaded.has(locate(parse_reference(model)))

    scope = f"{__version__} {config.model_dump_json(include=_IN_EVERY_ANSWER)}"
    cached = CachedPipeline(
        pipeline, store, metrics, terms, files_of, is_loaded, scope, config.seed is not None
    )
    # What it lacks it hands on, so that a pipeline that learns something new needs no second place for it.
    return cast(P, cached)
