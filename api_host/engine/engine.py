"""One loaded model with its queues: turns messages into sequences and embeddings, and steps them.

Knows nothing of sockets.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import TypeVar

from api_host.engine.embeddings import Embeddings
from api_host.engine.llama.chat_template import ChatTemplate
from api_host.engine.llama.embedder import LlamaEmbedder
from api_host.engine.llama.model import LoadError
from api_host.engine.llama.sampler import LlamaSampler
from api_host.engine.loader import LoadedModel
from api_host.engine.messages import (
    Cancel,
    Embed,
    EngineStats,
    Generate,
    RequestFailed,
    ToWorker,
    WorkerEvent,
)
from api_host.engine.scheduler import Scheduler
from api_host.errors import ApiHostError, InvalidRequest
from api_host.generation import SamplingParams

Request = TypeVar("Request", Generate, Embed)


class Engine:
    """Give it messages, step it while it ``has_work``, and take its events after each step."""

    def __init__(self, loaded: LoadedModel, queue_limit: int, lookup: bool = False) -> None:
        model, context = loaded.model, loaded.context
        self._loaded = loaded
        self._queue_limit = queue_limit
        self._template = ChatTemplate(
            model.chat_template, bos=model.token_text(model.bos), eos=model.token_text(model.eos)
        )

        def make_sampler(params: SamplingParams, prompt: array[int], index: int) -> LlamaSampler:
            return LlamaSampler(context, params, prompt, index)

        self._scheduler = Scheduler(context, model, make_sampler, queue_limit, lookup)
        self._embeddings: Embeddings | None = None
        self._refusals: list[WorkerEvent] = []

    @property
    def has_work(self) -> bool:
        embedding = self._embeddings is not None and self._embeddings.has_work
        return embedding or self._scheduler.has_work

    @property
    def stats(self) -> EngineStats:
        return self._scheduler.stats

    def take(self, message: ToWorker) -> None:
        """Takes a request in, or refuses it with an event."""
        match message:
            case Generate():
                self._admit(message, self._generate)
            case Embed():
                self._admit(message, self._embed)
            case Cancel(id=id):
                self._scheduler.cancel(id)
                if self._embeddings is not None:
                    self._embeddings.cancel(id)

    def step(self) -> None:
        """One decode of the running sequences, and one batch of embeddings."""
        self._scheduler.step()
        if self._embeddings is not None:
            self._embeddings.step()

    def take_events(self) -> list[WorkerEvent]:
        events, self._refusals = self._refusals, []
        events += self._scheduler.take_events()
        if self._embeddings is not None:
            events += self._embeddings.take_events()
        return events

    def _admit(self, message: Request, submit: Callable[[Request], None]) -> None:
        try:
            submit(message)
        except ApiHostError as error:
            details = {**error.details, "retry_after": error.retry_after}
            self._refusals.append(RequestFailed(message.id, error.code, error.message, details))

    def _generate(self, message: Generate) -> None:
        if not self._loaded.context.makes_text:
            raise InvalidRequest("model: this model makes embeddings and no text; use task embedding")
        prompt, stop = self._prompt(message)
        self._scheduler.submit(message.id, prompt, message.sampling, stop, message.n_ctx)

    def _prompt(self, message: Generate) -> tuple[array[int], list[str]]:
        """The prompt's tokens and its stop strings; a template that writes BOS itself gets no second one."""
        model = self._loaded.model
        stop = message.sampling.stop
        if isinstance(message.inputs, str):
            text = message.inputs
        else:
            rendered = self._template.render(message.inputs, message.chat_format)
            text, stop = rendered.text, [*stop, *rendered.stop]
        bos = model.token_text(model.bos)
        tokens = model.tokenize(text, add_special=not (bos and text.startswith(bos)))
        if not tokens:
            raise InvalidRequest("inputs: the text has no tokens; send at least one character")
        return tokens, stop

    def _embed(self, message: Embed) -> None:
        model = self._loaded.model
        if self._embeddings is None:
            try:
                embedder = LlamaEmbedder(model, self._loaded.n_threads)
            except LoadError as error:
                raise InvalidRequest(f"model: it cannot embed: {error}") from error
            self._embeddings = Embeddings(embedder, self._queue_limit)
        texts = [model.tokenize(text, add_special=True, parse_special=False) for text in message.texts]
        for index, tokens in enumerate(texts):
            if not tokens:
                raise InvalidRequest(f"inputs: text {index} has no tokens; send at least one character")
        self._embeddings.submit(message.id, texts)
