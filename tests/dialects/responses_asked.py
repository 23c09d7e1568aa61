"""What the tests of /v1/responses share: what is asked, and what the model is made to say."""

from __future__ import annotations

from typing import Any

from api_host.generation import Accepted, Chunk, Finished, FinishReason, Timings, Usage
from tests.fakes.pipeline import Step
from tests.web.site import Site

PATH = "/v1/responses"
WEATHER: Any = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather somewhere",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
TIME: Any = {"type": "function", "name": "get_time"}
PARIS = '{"city": "Paris"}'
CALLED = f'<tool_call>{{"name": "get_weather", "arguments": {PARIS}}}</tool_call>'


def plays(site: Site, *steps: Step) -> None:
    site.pipeline.script = lambda request: list(steps)


def says(site: Site, *texts: str, prompt: str | None = None, reason: FinishReason = "stop") -> None:
    """The next answers have this text, in these pieces, a token each."""
    steps: list[Step] = [Accepted("demo", 5, prompt), *[Chunk(text, n_tokens=1) for text in texts]]
    usage = Usage(prompt_tokens=5, completion_tokens=len(texts), cached_tokens=2)
    plays(site, *steps, Chunk("", finish_reason=reason), Finished(usage, Timings()))
