"""A small stand-in for the llama interface: the same methods, cells that are checked, a next token that depends
on every cell of its slot, so that one wrong cell changes the text."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable

from api_host.engine.backend import Adapters, DecodeFailed, Span

N_VOCAB = 64
EOG = 0


def next_token(cells: list[int]) -> int:
    """The model's only opinion: a hash of the whole text; never EOG by itself for short texts."""
    value = len(cells)
    for token in cells:
        value = (value * 31 + token + 7) % 1_000_003
    return value % (N_VOCAB - 1) + 1


class FakeLlama:
    """Backend and Vocabulary. ``poison``: a token whose batch fails to decode."""

    def __init__(
        self, n_ctx: int = 256, n_slots: int = 4, n_batch: int = 64, can_trim: bool = True, poison: int = -1
    ) -> None:
        self.n_ctx, self.n_slots, self.n_batch, self.can_trim = n_ctx, n_slots, n_batch, can_trim
        self.min_copied = 16
        self.copying = self.reads_together = self.attends_in_tiles = False
        self._sources: set[int] = set()
        self.poison = poison
        self.cells: list[list[int]] = [[] for _ in range(n_slots)]
        self.rows: dict[int, int] = {}
        self.batches: list[list[Span]] = []
        self.n_copies = 0
        self.n_saves = 0

    def decode(self, spans: Iterable[Span], adapters: Adapters = ()) -> None:
        batch = list(spans)
        self.batches.append(batch)
        self.copying = False
        self._sources.clear()
        assert sum(len(span.tokens) for span in batch) <= self.n_batch, "the batch is too large"
        assert [span.slot for span in batch] == sorted({span.slot for span in batch}), "slots must ascend"
        if any(self.poison in span.tokens for span in batch):
            for span in batch:
                self.cells[span.slot] = [-1]
            raise DecodeFailed(-3)
        self.rows = {}
        row = 0
        for span in batch:
            cells = self.cells[span.slot]
            assert span.start == len(cells), f"slot {span.slot} has {len(cells)} cells, not {span.start}"
            span.row = row + len(span.tokens) - span.n_outputs
            for token in span.tokens:
                cells.append(token)
                if row >= span.row:
                    self.rows[row] = next_token(cells)
                row += 1
            assert len(cells) <= self.n_ctx, "more cells than the context"

    def wait(self) -> None:
        pass

    def clear(self, slot: int) -> None:
        self.cells[slot] = []

    def trim(self, slot: int, length: int) -> int:
        if length != len(self.cells[slot]) and not self.can_trim:
            self.clear(slot)
            return 0
        self.cells[slot] = self.cells[slot][:length]
        return length

    def copy(self, source: int, target: int, length: int) -> int:
        self.n_copies += 1
        self.copying = True
        self._sources.add(source)
        self.cells[target] = list(self.cells[source])
        return self.trim(target, length)

    def state_size(self, slot: int) -> int:
        return len(self.cells[slot])

    def save(self, slot: int) -> list[int]:
        self.n_saves += 1
        return list(self.cells[slot])

    def restore(self, slot: int, state: list[int]) -> bool:
        assert self.cells[slot] == []
        assert slot not in self._sources, "its cells are copied only with the next decode"
        self.cells[slot] = list(state)
        return True

    def is_eog(self, token: int) -> bool:
        return token == EOG

    def piece(self, token: int, show_control: bool = False) -> bytes:
        return f"<{token}>".encode()


class FakeDraft(FakeLlama):
    """A draft model with the fake's own opinion, as sure of it as ``probability`` says.

    ``wrong`` says of its first, second, third, ... answer whether it is another token instead.
    """

    def __init__(
        self, wrong: Callable[[int], bool] = lambda n: False, probability: float = 1.0, **options: int
    ) -> None:
        super().__init__(**options)
        self.probability = probability
        self.n_asked = 0
        self._wrong = wrong

    @property
    def n_read(self) -> int:
        return sum(len(span.tokens) for batch in self.batches for span in batch)

    def likeliest(self, row: int) -> tuple[int, float]:
        self.n_asked += 1
        token = self.rows[row]
        return token % (N_VOCAB - 1) + 1 if self._wrong(self.n_asked) else token, self.probability


class FakeSampler:
    """Takes the model's opinion; counts how many are open, so that a leak is seen."""

    n_open = 0
    ended = False

    def __init__(self, llama: FakeLlama) -> None:
        self._llama = llama
        FakeSampler.n_open += 1

    def sample(self, row: int) -> int:
        return self._llama.rows[row]

    def logprobs(self, row: int, token: int, n_top: int) -> list[tuple[int, float]]:
        return [(token, -0.5), *[(token + i, -1.0 - i) for i in range(n_top)]]

    def close(self) -> None:
        FakeSampler.n_open -= 1


def text_alone(prompt: array[int], n_tokens: int) -> str:
    """What the fake generates for a prompt that has the machine to itself."""
    cells = list(prompt)
    for _ in range(n_tokens):
        cells.append(next_token(cells))
    return "".join(f"<{token}>" for token in cells[len(prompt) :])
