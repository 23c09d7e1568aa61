"""A conversation in the terminal: streams an answer, remembers the turns.

Knows a client and two text streams; nothing of hosts, options or exit codes.
"""

from __future__ import annotations

from typing import Any, TextIO

from api_host_client import Client


class Session:
    """The turns so far, and the next one.

    Args:
        client: answers, with its own model or the host's default.
        out: where answers go, piece by piece.
        parameters: sampling parameters for every request, by the API's names.
    """

    def __init__(self, client: Client, out: TextIO, parameters: dict[str, Any]) -> None:
        self._client = client
        self._out = out
        self._parameters = parameters
        self._system: str | None = None
        self._turns: list[dict[str, str]] = []

    def reset(self) -> None:
        """Forgets the turns; the system prompt stays."""
        self._turns = []

    def set_system(self, text: str) -> None:
        """Sets the system prompt (an empty one removes it) and starts anew."""
        self._system = text or None
        self.reset()

    def say(self, text: str) -> float:
        """Asks, streams the answer to ``out``, and returns its tokens per second.

        A turn that fails is not remembered. Raises ClientError.
        """
        turns = [*self._turns, {"role": "user", "content": text}]
        stream = self._client.stream_chat(turns, system=self._system, **self._parameters)
        with stream:
            for chunk in stream:
                self._out.write(chunk.text)
                self._out.flush()
        answer = stream.answer()
        self._turns = [*turns, answer.message]
        return answer.timings.tokens_per_second
