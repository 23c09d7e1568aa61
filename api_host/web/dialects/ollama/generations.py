"""What Ollama does around a generation: a prompt as a turn of a chat, and a model that goes when its answer is done.

Knows no HTTP and no field.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from api_host.errors import InvalidRequest
from api_host.generation import Event
from api_host.web.dialect import field_named
from api_host.web.streaming import Generation


class OrPlain:
    """A prompt as a turn of a chat, or, on a model without a chat template, as plain text.

    Args:
        chat: the prompt as a chat, without a ``chat_format`` of its own.
        plain: begins the prompt as plain text.
    """

    def __init__(self, chat: Generation, plain: Callable[[], Generation]) -> None:
        self._current = chat
        self._plain = plain
        self._cancelled = False

    def __iter__(self) -> Iterator[Event]:
        try:
            yield from self._current
        except InvalidRequest as refusal:
            if field_named(refusal) != "options.chat_format":
                raise
            self._current = self._plain()
            if self._cancelled:
                self._current.cancel()
            yield from self._current

    def cancel(self) -> None:
        self._cancelled = True
        self._current.cancel()


class ThenUnload:
    """A generation after which its model is unloaded, however it ends.

    Args:
        generation: what runs.
        unload: called when its model is free again.
    """

    def __init__(self, generation: Generation, unload: Callable[[], None]) -> None:
        self._generation = generation
        self._unload = unload

    def __iter__(self) -> Iterator[Event]:
        try:
            yield from self._generation
        finally:
            self._unload()

    def cancel(self) -> None:
        self._generation.cancel()
