"""A chat with a person at a terminal: the prompt, the answer as it comes, what Ctrl-C means at which moment.

Knows nothing of where the model runs.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from api_host.cli.bars import Bar
from api_host.cli.line_input import LineInput
from api_host.cli.printable import printable
from api_host.cli.screen import can_redraw, console_on, keys_not_shown
from api_host.cli.session import OnWaiting, Session, Show
from api_host.cli.sizes import size_text
from api_host.cli.slash import Slash
from api_host_client import Answer, ClientError, Waiting

_WAITING = {
    "queued": "waiting for a free slot",
    "downloading": "downloading the model",
    "loading": "loading the model",
    "prefill": "reading the prompt",
}


class Conversation:
    """A chat at a terminal.

    Args:
        session: what is asked and answered.
        plain: show answers as they are written.
        history: where typed lines are kept; None keeps none.
    """

    def __init__(self, session: Session, plain: bool, history: Path | None) -> None:
        self._session = session
        self._draws = can_redraw(sys.stdout) and not plain
        self._slash = Slash(session, _say, self._answer, self._load_model)
        self._lines = LineInput(self._slash.complete, history, _say)

    def hold(self) -> None:
        """Until /quit or Ctrl-D. Ctrl-C stops what goes on; at an empty prompt it raises KeyboardInterrupt."""
        talking_to = f"Talking to {self._session.client.model}. " if self._session.client.model else ""
        _say(f"{talking_to}/help lists the commands; /quit or Ctrl-D ends.")
        for line in self._lines:
            try:
                if not line.startswith("/"):
                    self._answer(line)
                elif not self._slash.run(line):
                    return
            except ClientError as error:
                click.secho(f"Error: {printable(str(error))}", fg="red", err=True)
            except KeyboardInterrupt:
                _say("(stopped)")

    def _answer(self, question: str) -> None:
        if not question:
            return
        try:
            with keys_not_shown():
                answer = self._drawn(question) if self._draws else self._written(question)
        except KeyboardInterrupt:
            _say("(stopped)")
        else:
            _say(_figures(answer))

    def _drawn(self, question: str) -> Answer:
        from api_host.cli.markdown import MarkdownView

        with MarkdownView(console_on(sys.stdout)) as view:
            return self._ask(question, view.add, lambda waiting: view.note(_why(waiting)))

    def _written(self, question: str) -> Answer:
        def show(text: str) -> None:
            sys.stdout.write(printable(text) if sys.stdout.isatty() else text)
            sys.stdout.flush()

        try:
            return self._ask(question, show, None)
        finally:
            click.echo()

    def _ask(self, question: str, show: Show, on_waiting: OnWaiting | None) -> Answer:
        return self._session.ask(question, show, on_waiting)

    def _load_model(self, ref: str) -> None:
        with Bar() as bar:
            self._session.client.load(ref, progress=bar.show_model)


def _say(text: str) -> None:
    click.secho(printable(text), dim=True, err=True)


def _why(waiting: Waiting) -> str:
    told = _WAITING.get(waiting.status, waiting.status)
    progress = waiting.progress
    if progress is None or progress.fraction is None:
        return f"{told} ..."
    return f"{told}: {progress.fraction:.0%} of {size_text(progress.bytes_total)}"


def _figures(answer: Answer) -> str:
    usage, pace = answer.usage, answer.timings.tokens_per_second
    cut = ", cut at max_tokens" if answer.finish_reason == "length" else ""
    return f"({usage.completion_tokens} tokens, {pace:.0f} tokens per second{cut})"
