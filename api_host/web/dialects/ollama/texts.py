"""``/api/generate`` and ``/api/chat``: from a body to a request, and from there to an answer.

Knows the two bodies; the one generates a text or a single turn, the other answers a chat.
"""

from __future__ import annotations

import contextlib
from typing import Protocol

from flask import Response

from api_host.errors import ModelFileNotFound
from api_host.generation import GenerationRequest, LoadOptions, Message
from api_host.web.dialects.ollama.answers import (
    LoadAnswer,
    Piece,
    Shape,
    TextAnswer,
    as_message,
    as_response,
)
from api_host.web.dialects.ollama.bodies import AskingBody, ChatBody, GenerateBody
from api_host.web.dialects.ollama.forms import at_once, form, timestamp
from api_host.web.dialects.ollama.generations import OrPlain
from api_host.web.dialects.ollama.named import kept_alive, model_of, spelled
from api_host.web.dialects.ollama.turns import messages
from api_host.web.streaming import Generation, Responder


class Pipeline(Protocol):
    """What the two routes need of the pipeline."""

    def generate(self, request: GenerationRequest) -> Generation: ...

    def load(self, model: str | None, options: LoadOptions) -> Generation: ...

    def unload(self, model: str) -> None: ...

    def canonical(self, model: str | None) -> str: ...


class Texts:
    """The answers to both kinds of body."""

    def __init__(self, pipeline: Pipeline, responder: Responder) -> None:
        self._pipeline = pipeline
        self._responder = responder

    def generate(self, body: GenerateBody) -> Response:
        model = model_of(self._pipeline, body)
        if not body.prompt:
            return self._load(body, model, as_response)
        plain = bool(body.raw) or body.suffix is not None
        generation = self._complete(body, model, body.prompt) if plain else self._turn(body, model)
        return self._answer(body, model, generation, as_response, as_written=plain)

    def chat(self, body: ChatBody) -> Response:
        model = model_of(self._pipeline, body)
        if not body.messages:
            return self._load(body, model, as_message)
        request = self._request(body, model, messages(body.messages))
        request.tools = [{"type": "function", **tool} for tool in body.tools or []]
        request.show_control = bool(body.tools)
        last = body.messages[-1]
        request.continue_last = last.role == "assistant" and not last.tool_calls
        generation = self._pipeline.generate(request)
        # Text that is held to a form of its own calls nothing, whatever it looks like.
        tools = bool(body.tools) and not body.format
        return self._answer(body, model, generation, as_message, tools=tools)

    def _request(self, body: AskingBody, model: str, inputs: str | list[Message]) -> GenerationRequest:
        options = body.set_options
        return GenerationRequest(
            inputs,
            model=model,
            sampling=options.sampling(body.format, body.n_logprobs),
            options=options.load_options(),
            chat_format=options.chat_format,
            template_values=body.template_values,
            want_prompt=True,
        )

    def _complete(self, body: GenerateBody, model: str, text: str) -> Generation:
        request = self._request(body, model, text)
        request.prefix_tokens = body.context or []
        request.suffix = body.suffix
        request.want_tokens = not body.raw
        return self._pipeline.generate(request)

    def _turn(self, body: GenerateBody, model: str) -> Generation:
        """The prompt as a chat of one turn; on a model without a template, the same as a text."""
        system, prompt = body.system or "", body.prompt or ""
        turns = [Message("system", system)] if system else []
        request = self._request(body, model, [*turns, Message("user", prompt)])
        request.prefix_tokens = body.context or []
        request.want_tokens = True
        generation = self._pipeline.generate(request)
        if request.chat_format is not None:
            return generation
        text = f"{system}\n\n{prompt}" if system else prompt
        return OrPlain(generation, lambda: self._complete(body, model, text))

    def _answer(
        self,
        body: AskingBody,
        model: str,
        generation: Generation,
        shape: Shape,
        *,
        as_written: bool = False,
        tools: bool = False,
    ) -> Response:
        """``as_written``: the text is no answer of a chat, so there is no thinking to be found in it."""
        answer = TextAnswer(
            spelled(body, model),
            shape,
            tools=tools,
            reasoning=not as_written and not body.format,
            thinking=body.think is not False,
        )
        generation = kept_alive(self._pipeline, body, model, generation)
        return self._responder.respond(generation, form(body.streams, answer))

    def _load(self, body: AskingBody, model: str, shape: Shape) -> Response:
        """No text: only the model is to come into memory, or to leave it."""
        name = spelled(body, model)
        if not body.unloads:
            loading = self._pipeline.load(model, body.set_options.load_options())
            return self._responder.respond(loading, form(body.streams, LoadAnswer(name, shape)))
        with contextlib.suppress(ModelFileNotFound):
            self._pipeline.unload(model)
        ending = {"created_at": timestamp(), **shape(Piece()), "done": True, "done_reason": "unload"}
        return at_once(body.streams, {"model": name, **ending})
