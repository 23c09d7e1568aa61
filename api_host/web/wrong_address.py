"""What to change in an address that no route has: mostly it is the base URL that a client was given.

Knows what clients put behind their base URL, and no field.
"""

from __future__ import annotations

_OPENAI = "an OpenAI base URL ends in /v1"
_ANTHROPIC = "an Anthropic base URL does not end in /v1"
_OLLAMA = "an Ollama base URL does not end in /v1"
_OWN = "this host's own client takes the host's URL alone, without /v1"
# The first beginning that fits counts.
_ADVICE = {
    "/v1/v1/messages": _ANTHROPIC,
    "/v1/v1/": "the base URL has /v1 twice; an OpenAI base URL ends in one",
    "/v1/api/models": _OWN,
    "/v1/api/": _OLLAMA,
    "/v1/api": _OWN,
    "/v1/health": _OWN,
    "/api/api/": "an Ollama base URL does not end in /api",
    "/chat/completions": _OPENAI,
    "/completions": _OPENAI,
    "/responses": _OPENAI,
    "/models": _OPENAI,
}
_ELSE = "GET / lists the endpoints"


def sentence_about(path: str) -> str:
    """What the caller of an address without a route is told."""
    advice = next((told for beginning, told in _ADVICE.items() if path.startswith(beginning)), _ELSE)
    return f"there is nothing at this address; {advice}"
