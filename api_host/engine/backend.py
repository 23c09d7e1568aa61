"""What the scheduler needs of a language model: an interface that llama.py implements, and a fake in the tests.

Knows nothing of llama.cpp.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

# LoRA adapters by the path of their file, each with its scale.
Adapters = tuple[tuple[str, float], ...]


class State(Protocol):
    """The cells of a slot as bytes."""

    def __len__(self) -> int: ...


class DecodeFailed(Exception):
    """A decode answered ``code``; the cells of every slot in its batch are undefined."""

    def __init__(self, code: int) -> None:
        super().__init__(f"llama_decode answered {code}")
        self.code = code


@dataclass(slots=True)
class Span:
    """Consecutive tokens of one slot in a batch, at positions ``start``, ``start`` + 1, ...

    The last ``n_outputs`` of them want logits; the decode writes where the first of these rows will be. ``shared``: the
    tokens before, where other spans of the batch are ends behind the same.
    """

    slot: int
    tokens: array[int]
    start: int
    n_outputs: int = 0
    row: int = -1
    shared: array[int] | None = None


class Backend(Protocol):
    """A context with ``n_slots`` streams of ``n_ctx`` cells.

    ``can_trim``: the end of a sequence can be dropped. ``min_copied``: fewer tokens are read faster than copied.
    ``copying``: copies wait for the next decode, and until then no slot may be restored: it may be the source of one.
    ``reads_together``: spans with a ``shared`` prefix are read faster than those without.
    ``attends_in_tiles``: few tokens of a slot take longer, each, than many.
    """

    n_ctx: int
    n_slots: int
    n_batch: int
    can_trim: bool
    min_copied: int
    copying: bool

    @property
    def reads_together(self) -> bool: ...

    @property
    def attends_in_tiles(self) -> bool: ...

    def decode(self, spans: Iterable[Span], adapters: Adapters = ()) -> None: ...

    def wait(self) -> None:
        """Returns when the last decode is done."""

    def clear(self, slot: int) -> None: ...

    def trim(self, slot: int, length: int) -> int: ...

    def copy(self, source: int, target: int, length: int) -> int: ...

    def state_size(self, slot: int) -> int: ...

    def save(self, slot: int) -> State: ...

    def restore(self, slot: int, state: State) -> bool: ...


class Vocabulary(Protocol):
    """Text of tokens: what the scheduler asks of a model."""

    def is_eog(self, token: int) -> bool: ...

    def piece(self, token: int, show_control: bool = False) -> bytes: ...


class Sampler(Protocol):
    """Draws the next token of one sequence from the logits of a row of the last batch.

    ``ended``: the form that the text is held to leaves nothing to follow.
    """

    @property
    def ended(self) -> bool: ...

    def sample(self, row: int) -> int | None:
        """The token; None where nothing may follow.

        Raises:
            ApiHostError: the request cannot go on.
        """

    def logprobs(self, row: int, token: int, n_top: int) -> list[tuple[int, float]]: ...

    def close(self) -> None: ...
