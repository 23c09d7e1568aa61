"""A host's facts as a calm screen: drawn in place, once a second, at a terminal.

Knows Facts and nothing of hosts; starts and stops none.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from api_host.cli.every_second import EverySecond
from api_host.cli.printable import printable
from api_host.cli.sizes import duration_text, size_text
from api_host.facts import Facts, ModelFacts

RATE_OVER_S = 10.0
_BAR_CELLS = 24
_MIB = 2**20
_STATUS_STYLES = {"loaded": "green", "downloading": "cyan", "loading": "cyan", "failed": "red"}


class HostScreen:
    """The screen, while it is entered; what is printed meanwhile stands above it.

    Args:
        console: where it is drawn.
        facts: reads those of this moment.
        title: the first words, such as the program's name and version.
        token_note: what stands where a token could.
    """

    def __init__(self, console: Console, facts: Callable[[], Facts], title: str, token_note: str) -> None:
        self._facts = facts
        self._picture = Picture(title, token_note)
        self._last: Facts | None = None
        self._live = Live(console=console, auto_refresh=False)
        self._watch = EverySecond(self._draw)

    def __enter__(self) -> HostScreen:
        self._live.__enter__()
        self._watch.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watch.__exit__(kind, error, trace)
        if self._last is not None:
            self._live.update(self._picture.of(self._last, ended=True))
        self._live.__exit__(kind, error, trace)

    def _draw(self) -> None:
        facts = self._facts()
        # A host that is just being stopped has nothing to show any more; its last picture stays.
        if facts.uptime is not None:
            self._last = facts
            self._live.update(self._picture.of(facts), refresh=True)


class Picture:
    """Facts as something that rich can draw. Remembers what the speed of a download takes."""

    def __init__(self, title: str, token_note: str) -> None:
        self._title = title
        self._token_note = token_note
        self._rates: dict[str, _Rate] = {}

    def of(self, facts: Facts, ended: bool = False) -> Group:
        """The picture; ``ended`` of a host that has been stopped."""
        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="dim", no_wrap=True)
        grid.add_column(overflow="fold")
        for name, value in self._rows(facts):
            grid.add_row(name, value)
        state = "stopped after" if ended else "up"
        heading = Text.assemble((self._title, "bold"), f"  {state} {duration_text(facts.uptime or 0)}")
        foot = "" if ended else "Ctrl-C ends.  From a laptop: api-host chat --url URL"
        return Group(Text(), heading, Text(), grid, Text(), Text(foot, style="dim"))

    def _rows(self, facts: Facts) -> Iterator[tuple[str, Text | Table | Group]]:
        yield from _addresses(facts)
        yield "Token", Text(self._token_note)
        for number, model in enumerate(facts.models):
            yield ("" if number else "Models" if len(facts.models) > 1 else "Model"), self._model(model)
        if not facts.models:
            yield "Model", Text("none yet; each request names its own")
        for gpu in facts.gpus:
            load = "" if gpu.load is None else f", {gpu.load:.0f} % busy"
            used, total = gpu.memoryUsed * _MIB, gpu.memoryTotal * _MIB
            yield f"GPU {gpu.id}", Text(f"{gpu.name}, {_part(used, total)}{load}")
        yield "Memory", Text(_part(facts.memory_used, facts.memory_total))
        yield (
            "Requests",
            Text(f"{facts.requests:,} ended, {facts.n_running} running, {facts.n_waiting} waiting"),
        )
        yield "Tokens", Text(f"{facts.tokens:,} generated, {facts.tokens_per_second:,.0f} a second now")
        if facts.last_failure is not None:
            failure = facts.last_failure
            ago = duration_text(time.monotonic() - failure.at)
            told = f"{failure.status} at {failure.route}, {ago} ago: {failure.message}"
            yield "Last error", Text(printable(told), style="yellow")

    def _model(self, model: ModelFacts) -> Group:
        style = _STATUS_STYLES.get(model.status, "")
        lines: list[Text | Table] = [
            Text.assemble((printable(model.name), "bold"), "  ", (model.status, style))
        ]
        chosen = _chosen(model)
        if chosen:
            lines.append(Text(printable(chosen)))
        if model.status == "downloading":
            lines.append(self._download(model))
        elif model.status == "loading" and model.seconds is not None:
            lines.append(Text(f"for {duration_text(model.seconds)}"))
        lines += [Text(printable(note), style="yellow") for note in model.notes]
        if model.error:
            lines.append(Text(printable(model.error), style="red"))
        return Group(*lines)

    def _download(self, model: ModelFacts) -> Table:
        done, total = model.bytes_done or 0, model.bytes_total or 0
        rate = self._rates.setdefault(model.name, _Rate()).note(time.monotonic(), done)
        told = f"{done / total:.0%} of {size_text(total)}" if total else size_text(done)
        if rate > 0:
            told += f", {size_text(rate)}/s"
            told += f", {duration_text((total - done) / rate)} left" if total > done else ""
        row = Table.grid(padding=(0, 2))
        bar = ProgressBar(total=total or None, completed=done, width=_BAR_CELLS, pulse=not total)
        row.add_row(bar, Text(told))
        return row


class _Rate:
    """Bytes a second over the last ``RATE_OVER_S`` seconds."""

    def __init__(self) -> None:
        self._seen: list[tuple[float, int]] = []

    def note(self, now: float, done: int) -> float:
        if self._seen and done < self._seen[-1][1]:
            self._seen.clear()
        self._seen = [seen for seen in self._seen if now - seen[0] <= RATE_OVER_S] + [(now, done)]
        then, before = self._seen[0]
        return (done - before) / (now - then) if now > then else 0.0


def _addresses(facts: Facts) -> Iterator[tuple[str, Text]]:
    places = facts.addresses
    if places.public is not None:
        yield "Public URL", Text(places.public, style="bold")
    elif places.problem is not None:
        yield "Public URL", Text(f"none: {printable(places.problem)}", style="yellow")
    elif places.tunnel_wanted:
        yield "Public URL", Text("being asked for ...", style="dim")
    yield "Local URL", Text(places.local or "")


def _chosen(model: ModelFacts) -> str:
    """What was chosen for a loaded model: device, sequences, context, layers."""
    if model.status != "loaded" or model.n_ctx is None:
        return ""
    facts = f"{model.description} on {model.device}, {model.n_slots} sequences of {model.n_ctx:,} tokens"
    if model.n_gpu_layers and model.n_layer is not None:
        facts += f", {model.n_gpu_layers} of {model.n_layer + 1} layers on the GPU"
    return facts


def _part(used: float, total: float) -> str:
    return f"{size_text(used)} of {size_text(total)} used"
