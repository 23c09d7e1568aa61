"""What was measured, kept as JSON: a run for each model and workload, with a sample for each contender and pair.

Knows nothing of how figures are measured or shown.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

from bench.figures import ratio_of_pairs


class UnreadableResults(Exception):
    """A file that is not what ``Results.save`` writes."""


@dataclass
class Sample:
    """One contender's figures in one pair."""

    contender: str
    pair: int
    figures: dict[str, float]


@dataclass
class TextCheck:
    """How many texts of a contender equal the reference, and how many of the others leave it at a near tie.

    ``how`` it was asked; ``largest_gap`` of a near tie, as the difference of two logarithms of probabilities.
    """

    contender: str
    how: str
    equal: int = 0
    of: int = 0
    near_ties: int = 0
    largest_gap: float = 0.0


@dataclass
class Run:
    """One workload on one model, its contenders measured in turn.

    ``load_average`` is the machine's before it, ``software`` the versions that were measured; runs of older files have
    none.
    """

    model: str
    key: str
    name: str
    command: str
    started: str
    load_average: float
    samples: list[Sample] = field(default_factory=list)
    texts: list[TextCheck] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    software: dict[str, str] = field(default_factory=dict)

    def values(self, contender: str, figure: str) -> dict[int, float]:
        """The figure by pair."""
        return {
            sample.pair: sample.figures[figure]
            for sample in self.samples
            if sample.contender == contender and figure in sample.figures
        }

    def median(self, contender: str, figure: str) -> float | None:
        """The median over the pairs; None when it was never measured."""
        values = self.values(contender, figure)
        return median(values.values()) if values else None

    def ratio(self, ours: str, theirs: str, figure: str) -> float | None:
        """The median over the pairs of ours / theirs, each pair by itself."""
        return ratio_of_pairs(self.values(ours, figure), self.values(theirs, figure))


@dataclass
class Results:
    """All runs; the machine and the versions of the last one."""

    machine: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)

    def replace(self, run: Run) -> None:
        """Adds a run, in place of an older one of the same model and workload."""
        same = [i for i, old in enumerate(self.runs) if (old.model, old.key) == (run.model, run.key)]
        if same:
            self.runs[same[0]] = run
        else:
            self.runs.append(run)

    def save(self, path: Path) -> None:
        """Writes them as JSON, whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        part.write_text(json.dumps(asdict(self), indent=1) + "\n")
        part.replace(path)

    @classmethod
    def load(cls, path: Path) -> Results:
        """Reads what ``save`` wrote; nothing when there is no such file. Raises UnreadableResults."""
        if not path.exists():
            return cls()
        try:
            found = json.loads(path.read_text())
            runs = [
                Run(
                    **{
                        **run,
                        "samples": [Sample(**sample) for sample in run["samples"]],
                        "texts": [TextCheck(**text) for text in run["texts"]],
                    }
                )
                for run in found.pop("runs")
            ]
            return cls(**found, runs=runs)
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            raise UnreadableResults(
                f"{path} is cut short or of another format; move it away, or name another --cache ({error!r})"
            ) from error
