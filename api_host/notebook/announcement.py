"""Tells whoever started a host what there is to know, as it comes to be known.

``Announcement`` prints lines; in a notebook ``CardAnnouncement`` keeps a card up to date instead, and prints only what
is said once. Neither knows a host.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from api_host.engine.messages import ModelInfo
from api_host.errors import ApiHostError
from api_host.facts import Facts
from api_host.notebook.card import Card
from api_host.notebook.kernel import in_notebook
from api_host.notebook.reveal import token_text
from api_host.notebook.snippets import client_snippet

_OPEN = "WARNING: this host asks for no access token: whoever has its URL can use it"


class Announcement:
    """Lines; safe to call from any thread.

    Args:
        token: the host's access token; None when it asks for none.
        names_model: whether a request has to name its model, as the host has no default.
        quiet: say nothing at all.
    """

    def __init__(self, token: str | None, names_model: bool, quiet: bool = False) -> None:
        self._token = token
        self._names_model = names_model
        self._quiet = quiet
        self._lock = threading.RLock()

    def begin(self) -> None:
        """The host is being started, or shown again. The first line is the token."""
        if self._token is None:
            self.say(_OPEN)
        else:
            self._keep(f"Access token: {self._token}")

    def local(self, url: str, is_all: bool) -> None:
        """Where this machine reaches the host; ``is_all``: no public URL is to follow."""
        with self._lock:
            self._keep(f"Local URL: {url}")
            if is_all:
                self._keep_snippet(url)

    def public(self, url: str) -> None:
        """The public URL, or the one that replaces it."""
        with self._lock:
            self._keep(f"Public URL: {url}")
            self._keep_snippet(url)

    def no_public(self, reason: str) -> None:
        """Why there is no public URL."""
        self._keep(f"Public URL: none: {reason}")

    def loaded(self, name: str, info: ModelInfo) -> None:
        """A model has been loaded."""
        with self._lock:
            facts = f"{info.description} on {info.device}, {info.n_slots} sequences of {info.n_ctx} tokens"
            self._keep(f"Model: {name} is loaded: {facts}")
            for note in info.notes:
                self._keep(f"Note: {note}")

    def failed(self, name: str, error: ApiHostError) -> None:
        """A model could not be fetched or loaded."""
        self._keep(f"Model: {name} is not loaded: {error.message}")

    def show_token(self, url: str, seconds: float) -> None:
        """The token and a link that signs in at ``url``, because somebody asks, though all else be kept quiet; a card
        takes them back in time."""
        print(_OPEN if self._token is None else token_text(url, self._token), flush=True)

    def say(self, line: str) -> None:
        """One line that matters now, and is not kept."""
        if not self._quiet:
            print(line, flush=True)

    def end(self) -> None:
        """The host has stopped."""

    def _keep(self, line: str) -> None:
        """A fact that holds from now on."""
        self.say(line)

    def _keep_snippet(self, url: str) -> None:
        lines = client_snippet(url, self._token, self._names_model)
        self._keep("On your laptop (pip install api-host-client):\n")
        self._keep("    " + lines.replace("\n", "\n    ") + "\n")


class CardAnnouncement(Announcement):
    """A card in the cell, which reads the facts for itself; printed is only what is not kept.

    Arguments as above; ``facts`` reads those of this moment.
    """

    def __init__(
        self, token: str | None, names_model: bool, facts: Callable[[], Facts], quiet: bool = False
    ) -> None:
        super().__init__(token, names_model, quiet)
        self._card = Card(facts, token)

    def local(self, url: str, is_all: bool) -> None:
        if not self._quiet:
            self._card.begin()

    def show_token(self, url: str, seconds: float) -> None:
        self._card.reveal(url, seconds)

    def end(self) -> None:
        self._card.end()

    def _keep(self, line: str) -> None:
        pass  # stands on the card


def announcement_for(
    token: str | None, names_model: bool, quiet: bool, facts: Callable[[], Facts]
) -> Announcement:
    """What fits the place: a card in a notebook, lines elsewhere; where ``quiet``, only what somebody asks for.
    Arguments as above."""
    if in_notebook():
        return CardAnnouncement(token, names_model, facts, quiet)
    return Announcement(token, names_model, quiet)
