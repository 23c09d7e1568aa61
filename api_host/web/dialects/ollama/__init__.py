"""The API of Ollama (its docs: api.md): text, chats, vectors, and the models there are.

Knows its fields and its shapes; what they do is the pipeline's. There is no way to make, copy, push or delete models.
"""

from __future__ import annotations

from typing import Any, Protocol

from flask import Blueprint, Response

from api_host.generation import EmbeddingRequest, GenerationRequest, LoadOptions
from api_host.models.details import ModelDetails
from api_host.web.body import read_json
from api_host.web.dialect import Dialect, Operation
from api_host.web.dialects.ollama import bodies
from api_host.web.dialects.ollama.answers import EmbedAnswer, PullAnswer, SingleEmbedAnswer
from api_host.web.dialects.ollama.failures import ERROR_SCHEMA, respond
from api_host.web.dialects.ollama.forms import JSON, LINES, at_once, form
from api_host.web.dialects.ollama.models import in_detail, in_memory, on_disk
from api_host.web.dialects.ollama.named import kept_alive, model_of, spelled
from api_host.web.dialects.ollama.texts import Texts
from api_host.web.streaming import Generation, Responder

COMPATIBLE_VERSION = "0.13.0"
"""The release of Ollama whose API this is: clients ask for it to know what they may use."""


class Pipeline(Protocol):
    """What this dialect needs of the pipeline."""

    def generate(self, request: GenerationRequest) -> Generation: ...

    def embed(self, request: EmbeddingRequest) -> Generation: ...

    def load(self, model: str | None, options: LoadOptions) -> Generation: ...

    def pull(self, model: str) -> Generation: ...

    def unload(self, model: str) -> None: ...

    def canonical(self, model: str | None) -> str: ...

    def models(self) -> list[dict[str, Any]]: ...

    def details(self, model: str) -> ModelDetails: ...


def dialect(pipeline: Pipeline, responder: Responder) -> Dialect:
    """The dialect on this pipeline."""
    routes = Blueprint("ollama", __name__)
    _add_texts(routes, Texts(pipeline, responder))
    _add_vectors(routes, pipeline, responder)
    _add_models(routes, pipeline, responder)
    return Dialect(routes, respond, OPERATIONS, PATHS, ERROR_SCHEMA)


def _add_texts(routes: Blueprint, texts: Texts) -> None:
    @routes.post("/api/generate")
    def generate() -> Response:
        return texts.generate(bodies.GENERATE.read(read_json()))

    @routes.post("/api/chat")
    def chat() -> Response:
        return texts.chat(bodies.CHAT.read(read_json()))


def _add_vectors(routes: Blueprint, pipeline: Pipeline, responder: Responder) -> None:
    def vectors(body: bodies.LoadingBody, texts: list[str], answer: EmbedAnswer, truncate: bool) -> Response:
        """Without a text the model is only loaded, and there are no vectors."""
        model, options = model_of(pipeline, body), body.set_options.load_options()
        if texts:
            generation = pipeline.embed(EmbeddingRequest(list(texts), model, options, truncate))
        else:
            generation = pipeline.load(model, options)
        generation = kept_alive(pipeline, body, model, generation)
        return responder.respond(generation, form(False, answer))

    @routes.post("/api/embed")
    def embed() -> Response:
        body = bodies.EMBED.read(read_json())
        answer = EmbedAnswer(spelled(body, model_of(pipeline, body)), body.dimensions)
        return vectors(body, body.texts, answer, body.truncate is not False)

    @routes.post("/api/embeddings")
    def embeddings() -> Response:
        body = bodies.EMBEDDINGS.read(read_json())
        return vectors(body, [body.prompt] if body.prompt else [], SingleEmbedAnswer(None), True)


def _add_models(routes: Blueprint, pipeline: Pipeline, responder: Responder) -> None:
    @routes.get("/api/tags")
    def tags() -> Response:
        return at_once(False, {"models": on_disk(pipeline)})

    @routes.get("/api/ps")
    def ps() -> Response:
        return at_once(False, {"models": in_memory(pipeline)})

    @routes.post("/api/show")
    def show() -> Response:
        body = bodies.SHOW.read(read_json())
        return at_once(False, in_detail(pipeline.details(model_of(pipeline, body))))

    @routes.post("/api/pull")
    def pull() -> Response:
        body = bodies.PULL.read(read_json())
        return responder.respond(pipeline.pull(model_of(pipeline, body)), form(body.streams, PullAnswer()))

    @routes.get("/api/version")
    def version() -> Response:
        return at_once(False, {"version": COMPATIBLE_VERSION})


_MODELS = {"type": "object", "properties": {"models": {"type": "array"}}, "required": ["models"]}
_MEDIA = (JSON, LINES)
OPERATIONS = (
    Operation("POST", "/api/generate", "Answer a prompt", bodies.GENERATE, media=_MEDIA),
    Operation("POST", "/api/chat", "Answer a chat", bodies.CHAT, media=_MEDIA),
    Operation("POST", "/api/embed", "Embed texts", bodies.EMBED),
    Operation("POST", "/api/embeddings", "Embed one text, the older way", bodies.EMBEDDINGS),
    Operation("GET", "/api/tags", "The models on this disk", answer=_MODELS),
    Operation("GET", "/api/ps", "The models in memory", answer=_MODELS),
    Operation("POST", "/api/show", "One model in detail", bodies.SHOW),
    Operation("POST", "/api/pull", "Fetch a model from the hub", bodies.PULL, media=_MEDIA),
    Operation("GET", "/api/version", "The release of Ollama whose API this is"),
)
PATHS = (
    "/api/generate",
    "/api/chat",
    "/api/embed",
    "/api/tags",
    "/api/ps",
    "/api/show",
    "/api/pull",
    "/api/push",
    "/api/create",
    "/api/copy",
    "/api/delete",
    "/api/blobs",
    "/api/version",
)
