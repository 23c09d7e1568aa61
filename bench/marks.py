"""The marks that this host is to reach, and whether it does."""

from __future__ import annotations

from dataclasses import dataclass

from bench.limits import BATCHED_BENCH, LLAMA_BENCH
from bench.results import Run
from bench.servers import BINDINGS, HOST, LLAMA_SERVER


@dataclass(frozen=True)
class Mark:
    """A bound on a figure of this host, or on its ratio to a contender's.

    ``figure`` is the name of a figure or the beginning of several, of which the worst counts.
    """

    figure: str
    against: str | None
    bound: float
    at_least: bool

    def measured(self, run: Run) -> float | None:
        """The ratio, or the figure itself; None when one of them is missing."""
        names = sorted({name for sample in run.samples for name in sample.figures if self._means(name)})
        if self.against is None:
            found = [run.median(HOST, name) for name in names]
        else:
            found = [run.ratio(HOST, self.against, name) for name in names]
        if not found or None in found:
            return None
        values = [value for value in found if value is not None]
        return min(values) if self.at_least else max(values)

    def reached(self, value: float) -> bool:
        return value >= self.bound if self.at_least else value <= self.bound

    def _means(self, name: str) -> bool:
        return name == self.figure or (self.figure.endswith("_") and name.startswith(self.figure))


_STREAMS = (
    Mark("total_tps", LLAMA_SERVER, 1.0, at_least=True),
    Mark("total_tps", BATCHED_BENCH, 0.95, at_least=True),
)
MARKS: dict[str, tuple[Mark, ...]] = {
    "1": (
        Mark("decode_tps", LLAMA_BENCH, 0.97, at_least=True),
        Mark("decode_tps", LLAMA_SERVER, 1.0, at_least=True),
    ),
    "4": _STREAMS,
    "8": _STREAMS,
    "16": _STREAMS,
    "shared": (
        Mark("total_tps", LLAMA_SERVER, 4.0, at_least=True),
        Mark("total_tps", BINDINGS, 1.3, at_least=True),
    ),
    "chat": (Mark("ttft_turn_", LLAMA_SERVER, 1.0, at_least=False),),
    "long": (Mark("gap_p99", LLAMA_SERVER, 0.5, at_least=False),),
    "requests": (Mark("rps", LLAMA_SERVER, 1.0, at_least=True),),
    "start": (Mark("seconds", None, 2.0, at_least=False),),
    "memory": (Mark("above_mb", None, 200.0, at_least=False),),
}
