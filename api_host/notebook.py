"""What a person sees of a host: lines in a terminal, the same lines and a card in a notebook's cell.

Knows nothing of hosts: it is told a token, addresses and sentences. Also asks Colab for a secret, because that is
the notebook's too.
"""

from __future__ import annotations

import html
import importlib
import sys
import threading
from typing import Any

_CARD = """<div style="border:1px solid #8888;border-radius:8px;padding:12px 16px;max-width:46em">
<b>API Host</b><table>{rows}</table>
<details><summary>Access token</summary><code>{token}</code></details>
<details><summary>On your laptop (<code>pip install api-host-client</code>)</summary><pre>{snippet}</pre></details>
</div>"""
_ROW = "<tr><td>{name}</td><td>{value}</td></tr>"

LOCAL, PUBLIC, MODEL = "Local URL", "Public URL", "Model"


def in_notebook() -> bool:
    """Whether this is the kernel of a notebook, where a card can be shown."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


def colab_secret(name: str) -> str | None:
    """A secret of the Colab notebook; None elsewhere, or when it is not there or not granted.

    Colab answers the main thread only; anywhere else it would wait for ever.
    """
    if "google.colab" not in sys.modules or threading.current_thread() is not threading.main_thread():
        return None
    userdata = importlib.import_module("google.colab.userdata")
    refusals = (userdata.SecretNotFoundError, userdata.NotebookAccessError, userdata.TimeoutException)
    try:
        return str(userdata.get(name)) or None
    except refusals:
        return None


def snippet(url: str, token: str | None, names_model: bool) -> str:
    """The lines to paste on a laptop.

    Args:
        url: where the host is reached.
        token: None for a host without one.
        names_model: whether a request has to name its model, as the host has no default.
    """
    arguments = repr(url) if token is None else f"{url!r}, {token!r}"
    model = ', model="demo"' if names_model else ""
    return (
        "from api_host_client import Client\n"
        f"client = Client({arguments})\n"
        f'for chunk in client.stream_chat("Hello"{model}):\n'
        '    print(chunk.text, end="", flush=True)'
    )


class Announcement:
    """Tells a person what there is to know, as it comes to be known; safe to call from any thread.

    Args:
        quiet: say nothing at all.
        names_model: as for ``snippet``.
    """

    def __init__(self, quiet: bool, names_model: bool) -> None:
        self._quiet = quiet
        self._names_model = names_model
        self._lock = threading.RLock()
        self._token: str | None = None
        self._facts: dict[str, str] = {}
        self._card: Any = None

    def begin(self, token: str | None) -> None:
        """The first line, and a new card below what follows."""
        with self._lock:
            self._token = token
            self._facts.clear()
            self._card = None
            if token is None:
                self.say("WARNING: this host asks for no access token: whoever has its URL can use it")
            else:
                self.say(f"Access token: {token}")

    def show(self, name: str, value: str) -> None:
        """A fact that the card keeps, such as a URL; the next one of the same name replaces it there."""
        with self._lock:
            self._facts[name] = value
            self.say(f"{name}: {value}")
            self._draw()

    def show_snippet(self, url: str) -> None:
        with self._lock:
            lines = snippet(url, self._token, self._names_model)
            self.say("On your laptop (pip install api-host-client):\n")
            self.say("    " + lines.replace("\n", "\n    ") + "\n")
            self._draw()

    def say(self, line: str) -> None:
        """One line, for now only."""
        if not self._quiet:
            print(line, flush=True)

    def as_html(self) -> str:
        """The card; everything on it is escaped."""
        rows = [_ROW.format(name=html.escape(n), value=_as_link(v)) for n, v in self._facts.items()]
        url = self._facts.get(PUBLIC, "")
        lines = snippet(url if _is_url(url) else self._facts.get(LOCAL, ""), self._token, self._names_model)
        token = html.escape(self._token) if self._token is not None else "none is asked for"
        return _CARD.format(rows="".join(rows), token=token, snippet=html.escape(lines))

    def _draw(self) -> None:
        if self._quiet or not in_notebook():
            return
        from IPython.display import HTML, display

        if self._card is None:
            self._card = display(HTML(self.as_html()), display_id=True)
        else:
            self._card.update(HTML(self.as_html()))


def _is_url(text: str) -> bool:
    return text.startswith(("http://", "https://"))


def _as_link(text: str) -> str:
    escaped = html.escape(text)
    return f'<a href="{escaped}">{escaped}</a>' if _is_url(text) else escaped
