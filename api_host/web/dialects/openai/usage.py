"""Figures as OpenAI's JSON has them: the tokens of a request, and log-probabilities.

Knows no answer and no route.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from api_host.generation import TokenLogprob, Usage
from api_host.web.output import Part, Reasoning

# JSON has no number for what a grammar or a bias has ruled out; this is what OpenAI answers with.
_LEAST_LOGPROB = -9999.0


def usage_body(usage: Usage, n_reasoning: int = 0) -> dict[str, Any]:
    """The tokens of one request; those of reasoning are part of the completion's."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": n_reasoning},
    }


def logprob_number(entry: TokenLogprob) -> float:
    """The log-probability as a number that JSON has."""
    return max(entry.logprob, _LEAST_LOGPROB)


def reasoning_tokens(parts: Sequence[Part], n_tokens: int) -> int:
    """How many of the tokens behind these parts are reasoning; of both at once, by the lengths of their texts."""
    lengths = [(len(getattr(part, "text", "")), isinstance(part, Reasoning)) for part in parts]
    total = sum(length for length, _ in lengths)
    return round(n_tokens * sum(length for length, reasons in lengths if reasons) / total) if total else 0
