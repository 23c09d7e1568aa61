"""``POST /v1/completions``: the body, and what it asks of the pipeline.

Knows its fields; ``completion_answer`` knows how the answer is told.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Protocol

from flask import Blueprint, Response
from pydantic import WithJsonSchema

from api_host.generation import GenerationRequest, LoadOptions
from api_host.web.body import read_json
from api_host.web.dialect import Operation
from api_host.web.dialects.openai.completion_answer import CompletionAnswer, WholeCompletion
from api_host.web.dialects.openai.errors import InWords
from api_host.web.dialects.openai.events import EventStream, PlainJson
from api_host.web.dialects.openai.fields import MEDIA, GeneratingBody, form_problems, names_of
from api_host.web.dialects.openai.prompts import Prompts
from api_host.web.dialects.openai.texts import TEXTS_SCHEMA, texts, texts_problems
from api_host.web.streaming import Generation, Responder
from api_host.web.validation import Shape, shown

MAX_PROMPTS = 64
MAX_TOKENS = 16


class Pipeline(Protocol):
    """What this route needs of the pipeline."""

    def generate(self, request: GenerationRequest) -> Generation: ...


@dataclass
class CompletionBody(GeneratingBody):
    """The fields of a completion request; ``logprobs`` is how many likeliest tokens to tell."""

    prompt: Annotated[Any, WithJsonSchema(TEXTS_SCHEMA)] = field(kw_only=True)
    suffix: str | None = None
    echo: bool | None = None

    def generation_requests(self) -> list[GenerationRequest]:
        """What is asked of the pipeline: a request for each prompt."""
        sampling = self.sampling(max_tokens=MAX_TOKENS if self.max_tokens is None else self.max_tokens)
        return [
            GenerationRequest(
                inputs=text if isinstance(text, str) else "",
                prefix_tokens=[] if isinstance(text, str) else text,
                model=self.reference,
                sampling=sampling,
                options=self.options.load_options() if self.options is not None else LoadOptions(),
                suffix=self.suffix or None,
                want_prompt=self.echo is True,
            )
            for text in texts(self.prompt)
        ]


def body_problems(body: dict[str, Any]) -> list[str]:
    """What is wrong between the fields of a parsed body, and with those that have several shapes."""
    problems = form_problems(body)
    if "prompt" in body:
        problems += texts_problems(body["prompt"], "prompt", MAX_PROMPTS)
    if body.get("echo") is True and body.get("suffix"):
        problems.append("echo: cannot be combined with suffix; allowed: one of the two")
    best_of, n = body.get("best_of"), body.get("n") or 1
    if best_of is not None and best_of != n:
        problems.append(
            f"best_of: {shown(best_of)} differs from n, and choices are not ranked here; allowed: {shown(n)}"
        )
    return problems


SHAPE = Shape(CompletionBody, body_problems)


def add_routes(routes: Blueprint, pipeline: Pipeline, responder: Responder) -> None:
    """Adds the route to the dialect's blueprint."""

    @routes.post("/v1/completions")
    def complete() -> Response:
        body = SHAPE.read(read_json())
        asked = body.generation_requests()
        n = asked[0].sampling.n
        prompts = Prompts([pipeline.generate(one) for one in asked], n, body.echo is True)
        generation = InWords(prompts, names_of(body, "prompt"))
        answer = CompletionAnswer(n * len(asked))
        if body.stream:
            return responder.respond(generation, EventStream(answer, body.include_usage))
        return responder.respond(generation, PlainJson(answer, WholeCompletion()))


_ANSWER = {
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "object": {"const": "text_completion"},
        "created": {"type": "integer"},
        "model": {"type": "string"},
        "choices": {"type": "array", "items": {"type": "object", "required": ["index", "text"]}},
        "usage": {"type": "object"},
    },
    "required": ["id", "object", "created", "model", "choices", "usage"],
}

OPERATIONS = (Operation("POST", "/v1/completions", "Complete a text, as OpenAI does", SHAPE, _ANSWER, MEDIA),)
