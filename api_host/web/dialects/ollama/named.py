"""Which model a request means, and what becomes of the model afterwards.

Knows names and ``keep_alive``, nothing of what is asked of the model.
"""

from __future__ import annotations

import contextlib
from typing import Protocol

from api_host.errors import InvalidRequest, ModelBusy, ModelFileNotFound, ModelNotNamed
from api_host.web.dialects.ollama.bodies import LoadingBody, ModelBody
from api_host.web.dialects.ollama.generations import ThenUnload
from api_host.web.streaming import Generation


class Models(Protocol):
    """What is asked of the pipeline."""

    def canonical(self, model: str | None) -> str: ...

    def unload(self, model: str) -> None: ...


def model_of(models: Models, body: ModelBody) -> str:
    """The model's canonical name.

    Raises:
        ModelNotNamed: there is none in the body, and the host has no default.
        ModelFileNotFound: it is no name of a model here, such as one of Ollama's own library.
    """
    try:
        return models.canonical(body.reference)
    except ModelNotNamed:
        raise
    except InvalidRequest as refusal:
        raise ModelFileNotFound(refusal.message) from refusal


def spelled(body: ModelBody, canonical: str) -> str:
    """The model as the request named it, for the answer."""
    return body.model or body.name or canonical


def kept_alive(models: Models, body: LoadingBody, model: str, generation: Generation) -> Generation:
    """The generation, and after it the end of its model if ``keep_alive`` is 0."""
    if not body.unloads:
        return generation

    def unload() -> None:
        # Others may be using it, or it never came as far as the memory.
        with contextlib.suppress(ModelBusy, ModelFileNotFound):
            models.unload(model)

    return ThenUnload(generation, unload)
