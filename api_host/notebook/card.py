"""The live card of one host: two places in a cell's output, filled anew by one thread.

The upper place holds what people click and copy (``addresses``), the lower one the figures (``figures``): a place that
is redrawn loses a selection, an opened fold and a click on its way, so each is redrawn only when it changes, at most
once a second. The thread ends with the host. The access token is in neither; see ``reveal``.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from api_host.facts import Facts
from api_host.notebook import addresses, figures, markup, reveal
from api_host.notebook.kernel import Display

PERIOD_S = 1.0


class Card:
    """The card, in the cell that calls ``begin``; safe to call from any thread.

    Args:
        facts: reads the host's facts of this moment.
        token: the host's; None when it asks for none.
    """

    def __init__(self, facts: Callable[[], Facts], token: str | None) -> None:
        self._facts = facts
        self._token = token
        self._lock = threading.Lock()
        self._places: tuple[Display, Display] | None = None
        self._revealed: list[tuple[float, Display]] = []
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """Shows the card in the cell that runs; an earlier cell's card only says that it has moved."""
        with self._lock:
            if self._places is not None:
                self._show_alone(addresses.MOVED)
            above, below = self._drawn()
            self._places = (Display(*above), Display(*below))
            self._keep_up()

    def reveal(self, url: str, seconds: float) -> None:
        """Shows the token in the cell that runs, with what signs in at ``url``; the thread hides it again."""
        with self._lock:
            if self._token is None:
                Display(markup.box(markup.text(reveal.NO_TOKEN)), reveal.NO_TOKEN)
                return
            shown = reveal.token_html(url, self._token, seconds), reveal.token_text(url, self._token)
            self._revealed.append((time.monotonic() + seconds, Display(*shown)))
            self._keep_up()

    def end(self) -> None:
        """Ends the thread, hides the token, and says on the card that the host has stopped."""
        self._over.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()
        with self._lock:
            self._hide(until=float("inf"))
            if self._places is not None:
                self._show_alone(addresses.STOPPED)
                self._places = None

    def _keep_up(self) -> None:
        """Has the thread run."""
        if self._thread is None:
            self._over.clear()
            self._thread = threading.Thread(target=self._watch, name="card", daemon=True)
            self._thread.start()

    def _watch(self) -> None:
        while not self._over.wait(PERIOD_S):
            with self._lock:
                self._hide(until=time.monotonic())
                if self._places is not None:
                    for place, content in zip(self._places, self._drawn(), strict=True):
                        place.show(*content)

    def _drawn(self) -> tuple[tuple[str, str], tuple[str, str]]:
        """The HTML and the plain text of both places."""
        facts = self._facts()
        above = addresses.addresses_html(facts.addresses, self._token is not None, facts.default_model)
        return (
            (above, addresses.addresses_text(facts.addresses)),
            (figures.figures_html(facts), figures.figures_text(facts)),
        )

    def _show_alone(self, sentence: str) -> None:
        """Leaves one sentence of the card."""
        assert self._places is not None, "there is a card"
        above, below = self._places
        above.show(markup.box(markup.text(sentence)), sentence)
        below.show("", "")

    def _hide(self, until: float) -> None:
        """Takes back the tokens whose time has come."""
        for at, place in self._revealed:
            if at <= until:
                place.show(markup.box(markup.text(reveal.HIDDEN_AGAIN)), reveal.HIDDEN_AGAIN)
        self._revealed = [(at, place) for at, place in self._revealed if at > until]
