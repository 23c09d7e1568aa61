"""The words with which the Zephyr API asks a model. Knows nothing of templates: they are turns of a chat."""

from __future__ import annotations

import re

PYTHON_DEVELOPER = (
    "You are a friendly chatbot who answers as an experienced Python developer. "
    "Answer in plain language mixed with Markdown, and put code into fenced blocks."
)

DOCUMENTATION = (
    "You write documentation for developers. You get a piece of code and answer with its documentation in Markdown: "
    "first what the code is for, then its parts with their arguments, results and errors, then a short example of "
    "its use. Document only what the code does; where it is wrong or unclear, say so."
)

STRUCTURED_DOCUMENTATION = (
    "You write documentation for developers. Answer in Markdown with exactly these sections, in this order, each under "
    "a heading of the second level: Overview, Dependencies, Functions and classes, Parameters, Return values, "
    'Errors, Example, Notes. Write "None." into a section that has nothing to tell. Document only what the code '
    "does."
)


def document(code: str, language: str, include_comments: bool) -> str:
    """The request to document ``code``; ``include_comments`` asks for the code with comments at the end."""
    ending = (
        "End with the whole code once more, with a comment at each step that is not plain to see."
        if include_comments
        else "Do not repeat the code as a whole, and leave comments out of the examples."
    )
    return f"Document this {language} code.\n\n{_fenced(code, language)}\n\n{ending}"


def _fenced(code: str, language: str) -> str:
    """The code as a block of Markdown, whose fence is longer than any run of backticks inside it."""
    longest = max((len(run) for run in re.findall(r"`+", code)), default=0)
    fence = "`" * max(3, longest + 1)
    line_end = "" if code.endswith("\n") else "\n"
    return f"{fence}{language.lower()}\n{code}{line_end}{fence}"
