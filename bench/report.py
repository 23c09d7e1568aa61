"""Shows results as Markdown, and puts them into a document between two markers, where the prose around them stays.

Knows results and marks; measures nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bench.limits import BATCHED_BENCH, LLAMA_BENCH
from bench.marks import MARKS, Mark
from bench.results import Results, Run, TextCheck
from bench.servers import BINDINGS, HOST, LLAMA_SERVER

BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
SERVERS = (HOST, LLAMA_SERVER, BINDINGS)
LIMITS = (LLAMA_BENCH, BATCHED_BENCH)

# Name, unit and factor of each figure that is shown, in the order of the table.
SHOWN = {
    "decode_tps": ("decode", "tokens/s", 1.0),
    "total_tps": ("all streams", "tokens/s", 1.0),
    "ttft": ("first token", "ms", 1e3),
    "gap_p99": ("gap, 99th percentile", "ms", 1e3),
    "gap_max": ("gap, longest", "ms", 1e3),
    "ttft_long": ("first token of the long prompt", "ms", 1e3),
    "rps": ("requests", "1/s", 1.0),
    "seconds": ("time", "s", 1.0),
    "above_mb": ("memory", "MB", 1.0),
}


def render(results: Results) -> str:
    """The tables, from marks to details."""
    facts = ", ".join(f"{name} {value}" for name, value in results.machine.items())
    software = ", ".join(f"{name} {value}" for name, value in results.versions.items())
    commands = ", ".join(f"`{command}`" for command in dict.fromkeys(run.command for run in results.runs))
    parts = [
        f"Machine: {facts}.\n\nSoftware of the last run: {software}.\n\nCommand: {commands}.",
        "### Marks\n\n" + _marks_table(results.runs),
        "### Medians\n\n" + _medians_table(results.runs),
        *(_turns(run) for run in results.runs if run.key == "chat"),
        "### Greedy text\n\n" + _texts_table(results.runs),
        _runs_note(results.runs, results.versions),
    ]
    return "\n\n".join(parts)


def insert(document: str, tables: str) -> str:
    """The document with ``tables`` between its markers; without markers, at its end, with them.

    Raises ValueError when only the first marker is there: nobody knows what comes behind the tables then.
    """
    block = f"{BEGIN}\n{tables}\n{END}"
    before, found, rest = document.partition(BEGIN)
    if not found:
        return f"{document.rstrip()}\n\n{block}\n".lstrip()
    _, ended, after = rest.partition(END)
    if not ended:
        raise ValueError(f"the document has {BEGIN} and no {END} behind it")
    return before + block + after


def _marks_table(runs: list[Run]) -> str:
    rows = []
    for run in runs:
        for mark in MARKS.get(run.key, ()):
            value = mark.measured(run)
            verdict = "not measured" if value is None else "reached" if mark.reached(value) else "**missed**"
            rows.append([run.name, run.model, _bound(mark), _number(value), verdict])
    return _table(["workload", "model", "mark", "measured", ""], rows)


def _bound(mark: Mark) -> str:
    name, unit, _ = SHOWN.get(mark.figure, ("time to first token of every turn", "", 1.0))
    bound = f"{'at least' if mark.at_least else 'at most'} {mark.bound:g}"
    return f"{name} {bound} {unit}" if mark.against is None else f"{name} {bound} of {mark.against}"


def _medians_table(runs: list[Run]) -> str:
    rows = []
    for run in runs:
        for figure, (name, unit, factor) in SHOWN.items():
            medians = [run.median(server, figure) for server in SERVERS]
            if medians == [None] * len(SERVERS):
                continue
            limit = next((name for name in LIMITS if run.values(name, figure)), None)
            limits = [run.median(limit, figure) if limit else None]
            ratios = [run.ratio(HOST, other, figure) if other else None for other in (*SERVERS[1:], limit)]
            scaled = [None if value is None else value * factor for value in (*medians, *limits)]
            rows.append([run.name, run.model, f"{name}, {unit}", *map(_number, (*scaled, *ratios))])
    against = [f"{HOST} ÷ {other}" for other in (*SERVERS[1:], "limit")]
    return _table(["workload", "model", "figure", *SERVERS, "limit", *against], rows)


def _turns(run: Run) -> str:
    """The time to the first token of each turn of a chat."""
    figures = sorted({name for sample in run.samples for name in sample.figures})
    names = [server for server in SERVERS if run.values(server, figures[0])] if figures else []
    rows = []
    for turn, figure in enumerate(figures, 1):
        values = [run.median(name, figure) for name in names]
        scaled = [None if value is None else value * 1e3 for value in values]
        rows.append([str(turn), *map(_number, scaled), _number(run.ratio(HOST, LLAMA_SERVER, figure))])
    title = f"### {run.name.capitalize()}, {run.model}: milliseconds to the first token"
    return f"{title}\n\n" + _table(["turn", *names, f"{HOST} ÷ {LLAMA_SERVER}"], rows)


def _texts_table(runs: list[Run]) -> str:
    rows = [
        [run.name, run.model, text.contender, text.how, str(text.of), *_compared(text)]
        for run in runs
        for text in run.texts
    ]
    return _table(["workload", "model", "server", "asked", "texts", "equal", "near tie", "wrong"], rows)


def _compared(text: TextCheck) -> list[str]:
    """Texts that equal the reference, that part from it at a near tie (how near), and that are others."""
    near = f"{text.near_ties} (within {text.largest_gap:g})" if text.near_ties else "0"
    wrong = text.of - text.equal - text.near_ties
    return [str(text.equal), near, f"**{wrong}**" if wrong else "0"]


def _runs_note(runs: list[Run], last: dict[str, str]) -> str:
    """When each run was made, with the software that is not the last one's, and what failed."""
    notes = [
        f"- {run.name}, {run.model}: {run.started}, {_n_pairs(run)} pairs, load average before it "
        f"{run.load_average:g}"
        + "".join(f"; {name} {value}" for name, value in run.software.items() if value != last.get(name))
        + "".join(f"; failed: {failure}" for failure in run.failures)
        for run in runs
    ]
    return "### Runs\n\n" + "\n".join(notes)


def _n_pairs(run: Run) -> int:
    return len({sample.pair for sample in run.samples})


def _number(value: float | None) -> str:
    """Three figures, or a dash."""
    if value is None:
        return "-"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.3f}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
