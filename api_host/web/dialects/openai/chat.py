"""``POST /v1/chat/completions``: the body, and what it asks of the pipeline.

Knows its fields; ``chat_answer`` knows how the answer is told.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Protocol

from annotated_types import MinLen
from flask import Blueprint, Response

from api_host.generation import GenerationRequest, LoadOptions
from api_host.web.body import read_json
from api_host.web.dialect import Operation
from api_host.web.dialects.openai.chat_answer import ChatAnswer, WholeChat
from api_host.web.dialects.openai.errors import InWords
from api_host.web.dialects.openai.events import EventStream, PlainJson
from api_host.web.dialects.openai.fields import (
    MEDIA,
    GeneratingBody,
    Likeliest,
    MaxTokens,
    form_problems,
    names_of,
)
from api_host.web.dialects.openai.history import Turn, history_problems, messages
from api_host.web.dialects.openai.tools import Calling, Tool, ToolChoice, calling, tool_problems
from api_host.web.output import OutputParser, forced_call_schema
from api_host.web.streaming import Generation, Responder
from api_host.web.validation import Shape


class Pipeline(Protocol):
    """What this route needs of the pipeline."""

    def generate(self, request: GenerationRequest) -> Generation: ...


@dataclass
class ChatBody(GeneratingBody):
    """The fields of a chat request."""

    messages: Annotated[list[Turn], MinLen(1)] = field(kw_only=True)
    max_completion_tokens: MaxTokens | None = None
    logprobs: bool | None = None
    top_logprobs: Likeliest | None = None
    tools: list[Tool] | None = None
    tool_choice: ToolChoice = None
    parallel_tool_calls: bool | None = None
    chat_format: str | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    continue_final_message: bool | None = None

    def generation_request(self, called: Calling) -> GenerationRequest:
        """What is asked of the pipeline. A forced call is held to its form by a schema."""
        held: dict[str, Any] = {}
        if called.forced:
            several = self.parallel_tool_calls is not False and called.name is None
            held["json_schema"] = forced_call_schema(called.tools, called.name, several)
        return GenerationRequest(
            inputs=messages(self.messages),
            model=self.reference,
            sampling=self.sampling(
                max_tokens=self.max_completion_tokens or self.max_tokens,
                logprobs=(self.top_logprobs or 0) if self.logprobs else None,
                **held,
            ),
            options=self.options.load_options() if self.options is not None else LoadOptions(),
            chat_format=self.chat_format,
            tools=called.tools,
            template_values=self.chat_template_kwargs or {},
            continue_last=self.continue_final_message is True,
            want_prompt=True,
            show_control=bool(called.tools),
        )


def body_problems(body: dict[str, Any]) -> list[str]:
    """What is wrong between the fields of a parsed body, and with those that have several shapes."""
    problems = form_problems(body) + history_problems(body.get("messages")) + tool_problems(body)
    if body.get("top_logprobs") and body.get("logprobs") is not True:
        problems.append("top_logprobs: needs logprobs beside it; allowed: logprobs true")
    most = [body.get(name) for name in ("max_tokens", "max_completion_tokens")]
    if None not in most and most[0] != most[1]:
        problems.append("max_tokens: differs from max_completion_tokens; allowed: one of the two")
    if body.get("continue_final_message") is True and not _ends_with_answer(body.get("messages")):
        problems.append(
            "continue_final_message: there is no answer to go on with; allowed: an assistant's turn without calls last"
        )
    return problems


def _ends_with_answer(turns: Any) -> bool:
    last = turns[-1] if isinstance(turns, list) and turns else None
    return isinstance(last, dict) and last.get("role") == "assistant" and not last.get("tool_calls")


SHAPE = Shape(ChatBody, body_problems)


def add_routes(routes: Blueprint, pipeline: Pipeline, responder: Responder) -> None:
    """Adds the route to the dialect's blueprint."""

    @routes.post("/v1/chat/completions")
    def chat() -> Response:
        body = SHAPE.read(read_json())
        called = calling(body.tools, body.tool_choice)
        asked = body.generation_request(called)
        names = names_of(body, "messages")
        if called.forced:
            names["parameters.json_schema"] = "tools"
        generation = InWords(pipeline.generate(asked), names)
        # Where a grammar holds the text, nothing in it is reasoning, whatever the template has opened.
        free = asked.sampling.grammar is None and asked.sampling.json_schema is None

        def make_parser(prompt: str | None) -> OutputParser:
            return OutputParser(tools=bool(called.tools), reasoning=free, prompt=prompt, forced=called.forced)

        answer = ChatAnswer(asked.sampling.n, make_parser, body.parallel_tool_calls is not False)
        if body.stream:
            return responder.respond(generation, EventStream(answer, body.include_usage))
        return responder.respond(generation, PlainJson(answer, WholeChat()))


_ANSWER = {
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "object": {"const": "chat.completion"},
        "created": {"type": "integer"},
        "model": {"type": "string"},
        "choices": {"type": "array", "items": {"type": "object", "required": ["index", "message"]}},
        "usage": {"type": "object"},
    },
    "required": ["id", "object", "created", "model", "choices", "usage"],
}

OPERATIONS = (
    Operation("POST", "/v1/chat/completions", "Answer a chat, as OpenAI does", SHAPE, _ANSWER, MEDIA),
)
