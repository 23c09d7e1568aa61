"""The model's text in its parts, as it streams: text, reasoning, and calls of tools in each family's syntax."""

from api_host.web.output.forced import forced_call_schema
from api_host.web.output.json_text import mended, object_of
from api_host.web.output.parser import OutputParser
from api_host.web.output.parts import CallArguments, CallStarted, Part, Reasoning, Text

__all__ = [
    "CallArguments",
    "CallStarted",
    "OutputParser",
    "Part",
    "Reasoning",
    "Text",
    "forced_call_schema",
    "mended",
    "object_of",
]
