"""``POST /v1/responses``: the body, and what it asks of the pipeline.

Knows its fields; ``responses_events`` knows how the answer is told. Nothing is kept between requests, so a request
that goes on from an earlier one is refused: the conversation comes whole, in ``input``.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Literal, Protocol

from flask import Blueprint, Response
from pydantic import WithJsonSchema

from api_host.generation import GenerationRequest, LoadOptions
from api_host.web.body import read_json
from api_host.web.dialect import Operation
from api_host.web.dialects.openai.errors import InWords
from api_host.web.dialects.openai.events import Body, PlainJson
from api_host.web.dialects.openai.fields import GeneratingBody, Likeliest, MaxTokens, form_problems
from api_host.web.dialects.openai.responses_events import NamedEvents, ResponseAnswer, WholeResponse
from api_host.web.dialects.openai.responses_input import input_problems, messages
from api_host.web.dialects.openai.responses_tools import FlatTool, choice_problems, flat_calling
from api_host.web.dialects.openai.tools import Calling, ToolChoice
from api_host.web.output import OutputParser, forced_call_schema
from api_host.web.streaming import Generation, Responder
from api_host.web.validation import Shape

_NAMES = {
    "inputs": "input",
    "parameters.max_tokens": "max_output_tokens",
    "parameters.json_schema": "text.format.schema",
    "parameters.logprobs": "top_logprobs",
}
_LOGPROBS = "message.output_text.logprobs"
_NOT_KEPT = "this host keeps nothing between requests"
_REFUSED = {
    "previous_response_id": f"{_NOT_KEPT}; allowed: null, with the whole conversation in input",
    "conversation": f"{_NOT_KEPT}; allowed: null, with the whole conversation in input",
    "prompt": f"{_NOT_KEPT}; allowed: null, with the prompt's text in instructions and input",
    "background": f"{_NOT_KEPT}; allowed: false",
    "response_format": "has another place here; allowed: text.format",
}

Items = Annotated[
    Any,
    WithJsonSchema(
        {"anyOf": [{"type": "string", "minLength": 1}, {"type": "array", "items": {"type": "object"}}]}
    ),
]
NotKept = Annotated[Any, WithJsonSchema({"type": "null"})]


class Pipeline(Protocol):
    """What this route needs of the pipeline."""

    def generate(self, request: GenerationRequest) -> Generation: ...


@dataclass
class TextForm:
    """The form to which an answer is held; its ``name`` and ``strict`` change nothing."""

    __pydantic_config__ = {"extra": "ignore"}

    type: Literal["text", "json_object", "json_schema"] = "text"
    name: str | None = None
    schema: dict[str, Any] | None = None


@dataclass
class TextFields:
    __pydantic_config__ = {"extra": "ignore"}

    format: TextForm | None = None


@dataclass
class ResponsesBody(GeneratingBody):
    """The fields of a request. Unknown ones (``store``, ``truncation``, ``user``, ...) are ignored."""

    input: Items = field(kw_only=True)
    instructions: str | None = None
    max_output_tokens: MaxTokens | None = None
    text: TextFields | None = None
    tools: list[FlatTool] | None = None
    tool_choice: ToolChoice = None
    parallel_tool_calls: bool | None = None
    top_logprobs: Likeliest | None = None
    include: list[str] | None = None
    reasoning: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None
    previous_response_id: str | None = None
    conversation: NotKept = None
    prompt: NotKept = None
    background: bool | None = None
    chat_format: str | None = None
    chat_template_kwargs: dict[str, Any] | None = None

    @property
    def form(self) -> TextForm:
        return (self.text.format if self.text is not None else None) or TextForm()

    @property
    def several_calls(self) -> bool:
        return self.parallel_tool_calls is not False

    def generation_request(self, called: Calling) -> GenerationRequest:
        """What is asked of the pipeline. A forced call is held to its form by a schema."""
        held: dict[str, Any] = {}
        if called.forced:
            several = self.several_calls and called.name is None
            held["json_schema"] = forced_call_schema(called.tools, called.name, several)
        elif self.form.type != "text":
            held["json_schema"] = self.form.schema or {"type": "object"}
        likeliest = self.top_logprobs
        if likeliest is None and _LOGPROBS in (self.include or []):
            likeliest = 0
        return GenerationRequest(
            inputs=messages(self.instructions, self.input),
            model=self.reference,
            sampling=self.sampling(
                max_tokens=self.max_output_tokens or self.max_tokens, logprobs=likeliest, **held
            ),
            options=self.options.load_options() if self.options is not None else LoadOptions(),
            chat_format=self.chat_format,
            tools=called.tools,
            template_values=self.chat_template_kwargs or {},
            want_prompt=True,
            show_control=bool(called.tools),
        )

    def repeated(self, asked: GenerationRequest) -> Body:
        """What the response repeats of its request."""
        return {
            "background": False,
            "instructions": self.instructions,
            "max_output_tokens": self.max_output_tokens,
            "metadata": self.metadata or {},
            "parallel_tool_calls": self.several_calls,
            "previous_response_id": None,
            "reasoning": {"effort": None, "summary": None, **(self.reasoning or {})},
            "store": False,
            "temperature": asked.sampling.temperature,
            "text": {
                "format": {name: value for name, value in asdict(self.form).items() if value is not None}
            },
            "tool_choice": self.tool_choice or "auto",
            "tools": [asdict(tool) for tool in self.tools or []],
            "top_logprobs": self.top_logprobs or 0,
            "top_p": asked.sampling.top_p,
            "truncation": "disabled",
        }


def body_problems(body: dict[str, Any]) -> list[str]:
    """What is wrong between the fields of a parsed body, and with those that have several shapes."""
    problems = [f"{name}: {why}" for name, why in _REFUSED.items() if body.get(name)]
    if "input" in body:
        problems += input_problems(body["input"])
    if body.get("n") not in (None, 1):
        problems.append("n: a response has one answer; allowed: 1")
    unmoved = {name: value for name, value in body.items() if name != "response_format"}
    return problems + form_problems(unmoved) + _text_problems(body) + choice_problems(body)


def _text_problems(body: dict[str, Any]) -> list[str]:
    text = body.get("text")
    form = text.get("format") if isinstance(text, dict) else None
    form = form if isinstance(form, dict) else {}
    held = [name for name in ("grammar", "json_schema") if body.get(name) is not None]
    if form.get("type") in ("json_object", "json_schema"):
        held.append("text.format")
    problems = []
    if form.get("type") == "json_schema" and form.get("schema") is None:
        problems.append("text.format.schema: is missing; allowed: a JSON schema")
    if len(held) > 1 and held[-1] == "text.format":
        problems.append(f"text.format: the answer is held to {held[0]} already; allowed: one of the two")
    if held and body.get("tools") and body.get("tool_choice") != "none":
        problems.append(
            f"{held[-1]}: an answer held to a form cannot call tools; "
            "allowed: one of the two, or tool_choice none"
        )
    return problems


SHAPE = Shape(ResponsesBody, body_problems)


def add_routes(routes: Blueprint, pipeline: Pipeline, responder: Responder) -> None:
    """Adds the route to the dialect's blueprint."""

    @routes.post("/v1/responses")
    def respond() -> Response:
        body = SHAPE.read(read_json())
        called = flat_calling(body.tools or [], body.tool_choice)
        asked = body.generation_request(called)
        generation = InWords(pipeline.generate(asked), _NAMES)
        # Where a grammar holds the text, nothing in it is reasoning, whatever the template has opened.
        free = asked.sampling.grammar is None and asked.sampling.json_schema is None

        def make_parser(prompt: str | None) -> OutputParser:
            return OutputParser(tools=bool(called.tools), reasoning=free, prompt=prompt, forced=called.forced)

        answer = ResponseAnswer(body.repeated(asked), make_parser, body.several_calls)
        if body.stream:
            return responder.respond(generation, NamedEvents(answer))
        return responder.respond(generation, PlainJson(answer, WholeResponse()))


_ANSWER = {
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "object": {"const": "response"},
        "created_at": {"type": "integer"},
        "status": {"enum": ["completed", "incomplete"]},
        "model": {"type": "string"},
        "output": {"type": "array", "items": {"type": "object", "required": ["type", "id"]}},
        "usage": {"type": "object"},
    },
    "required": ["id", "object", "created_at", "status", "model", "output", "usage"],
}

OPERATIONS = (
    Operation(
        "POST",
        "/v1/responses",
        "Answer a conversation of items, as OpenAI's Responses API does",
        SHAPE,
        _ANSWER,
        ("application/json", "text/event-stream"),
    ),
)
