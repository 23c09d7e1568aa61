"""One loaded model with its queues: turns messages into sequences and embeddings, and steps them.

Knows nothing of sockets.
"""

from __future__ import annotations

import sys
import traceback
from array import array
from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar

from api_host.engine.draft import Draft
from api_host.engine.embeddings import Embeddings
from api_host.engine.guessing import FirstOf, Guesser
from api_host.engine.llama.chat_template import ChatTemplate
from api_host.engine.llama.embedder import LlamaEmbedder
from api_host.engine.llama.model import LoadError
from api_host.engine.llama.sampler import LlamaSampler
from api_host.engine.loader import LoadedModel
from api_host.engine.lookup import PromptLookup
from api_host.engine.messages import (
    LOADED_LINE,
    Cancel,
    Embed,
    EngineStats,
    Generate,
    Load,
    RequestAccepted,
    RequestFailed,
    RequestFinished,
    ToWorker,
    WorkerEvent,
)
from api_host.engine.prompt import read_prompt, text_tokens
from api_host.engine.scheduler import Scheduler
from api_host.engine.sequence import Request
from api_host.errors import ApiHostError, GenerationFailed, InvalidRequest, OutOfMemory, without_paths
from api_host.generation import SamplingParams, Timings, Usage

Asked = TypeVar("Asked", Generate, Embed)


class Engine:
    """Give it messages, step it while it ``has_work``, and take its events when they are ``urgent``.

    Without work it may ``read_ahead``.
    """

    def __init__(self, loaded: LoadedModel, load: Load) -> None:
        model, context = loaded.model, loaded.context
        self._loaded = loaded
        self._load = load
        self._template = ChatTemplate(
            model.chat_template, bos=model.token_text(model.bos), eos=model.token_text(model.eos)
        )

        def make_sampler(params: SamplingParams, prompt: array[int], index: int) -> LlamaSampler:
            return LlamaSampler(context, params, prompt, index)

        self._scheduler = Scheduler(
            context, model, make_sampler, load.queue_limit, _guesser(loaded, load), loaded.prefix_memory
        )
        self._embeddings: Embeddings | None = None
        self._answers: list[WorkerEvent] = []
        self._asked: tuple[str, Request] | None = None
        self._ahead: Iterator[int] = iter(())

    @property
    def has_work(self) -> bool:
        embedding = self._embeddings is not None and self._embeddings.has_work
        return embedding or self._scheduler.has_work

    @property
    def only_decodes(self) -> bool:
        """Whether the next step reads no prompt and embeds nothing, and so is as short as a step can be."""
        embedding = self._embeddings is not None and self._embeddings.has_work
        return self._scheduler.only_decodes and not embedding

    @property
    def urgent(self) -> bool:
        """Whether there is something to say that cannot wait for the next step."""
        embedded = self._embeddings is not None and self._embeddings.has_events
        return bool(self._answers) or self._scheduler.urgent or embedded

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

    def read_ahead(self) -> bool:
        """While there is no work: reads a little of the last prompt and its answer, as which a chat's next one begins.

        Returns:
            Whether it did; else there is nothing left to do.
        """
        if self._asked is not None:
            text, request = self._asked
            self._asked = None
            answer = request.sequences[0].tokens[len(request.prompt) :]
            self._ahead = self._loaded.model.read_ahead(text + self._loaded.model.text(answer))
        return next(self._ahead, 0) > 0

    def take_events(self) -> list[WorkerEvent]:
        events, self._answers = self._answers, []
        events += self._scheduler.take_events()
        if self._embeddings is not None:
            events += self._embeddings.take_events()
        return events

    def _admit(self, message: Asked, submit: Callable[[Asked], None]) -> None:
        """Whatever is wrong with a request is the end of this request alone."""
        try:
            submit(message)
        except ApiHostError as error:
            details = {**error.details, "retry_after": error.retry_after}
            self._answers.append(RequestFailed(message.id, error.code, error.message, details))
        except Exception as error:  # noqa: BLE001 (its traceback goes to the log)
            traceback.print_exc()
            what = (
                f"the model's process could not read this request ({type(error).__name__}); its log says more"
            )
            self._answers.append(RequestFailed(message.id, GenerationFailed.code, what))

    def _generate(self, message: Generate) -> None:
        if not self._loaded.context.makes_text:
            raise InvalidRequest("model: this model makes embeddings and no text; use task embedding")
        asked = message.request
        n_ctx = message.n_ctx or self._loaded.context.n_ctx
        prompt = read_prompt(asked, self._loaded.model, self._template, None if message.count_only else n_ctx)
        text = prompt.text if asked.want_prompt else None
        if message.count_only:
            n_tokens = len(prompt.tokens)
            self._answers.append(RequestAccepted(message.id, n_tokens, text))
            self._answers.append(RequestFinished(message.id, Usage(n_tokens), Timings()))
            return
        request = Request(message.id, prompt.tokens, asked.sampling, prompt.stop, n_ctx, text)
        request.want_tokens, request.show_control = asked.want_tokens, asked.show_control
        request.each_token = asked.each_token
        request.adapters = tuple(message.adapters)
        self._loaded.context.adapters.load(request.adapters)
        self._scheduler.submit(request)
        self._asked = prompt.text, request

    def _embed(self, message: Embed) -> None:
        model = self._loaded.model
        if self._embeddings is None:
            try:
                embedder = LlamaEmbedder(
                    model, self._loaded.n_threads, self._load.rope_freq_base, self._load.rope_freq_scale
                )
            except LoadError as error:
                # The model has a context for text already, so what lacks is memory for a second one.
                raise OutOfMemory(
                    f"no memory for embeddings beside the model ({without_paths(str(error))}); load it with a shorter "
                    "ctx_length or fewer parallel sequences"
                ) from error
            print(LOADED_LINE, file=sys.stderr, flush=True)
            read_text = partial(text_tokens, model, embedder.n_ctx)
            self._embeddings = Embeddings(embedder, read_text, self._load.queue_limit)
        self._embeddings.submit(message.id, message.texts, message.truncate)


def _guesser(loaded: LoadedModel, load: Load) -> Guesser | None:
    """The text itself goes before the draft model: what it guesses is free."""
    sources: list[Guesser] = [PromptLookup()] if load.lookup else []
    if loaded.draft is not None:
        sources.append(Draft(loaded.draft, load.draft_max))
    return FirstOf(sources) if sources else None
