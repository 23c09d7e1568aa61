"""The notebook's kernel: whether this process is one, what it shows in its cells, and Colab's secrets.

The only file that imports IPython. Knows nothing of what is shown.
"""

from __future__ import annotations

import importlib
import sys
import threading
from typing import Any


def in_notebook() -> bool:
    """Whether this is the kernel of a notebook, where HTML can be shown."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


class Display:
    """A place in the output of the cell that runs, filled anew as often as there is something new to show there.

    Args:
        html: the first content.
        text: the same for a frontend that shows no HTML.
    """

    def __init__(self, html: str, text: str) -> None:
        from IPython.display import display

        self._shown = (html, text)
        self._handle: Any = display(_bundle(html, text), raw=True, display_id=True)

    def show(self, html: str, text: str) -> None:
        """Replaces the content where it stands, whichever cell runs now; sends nothing when nothing has changed."""
        if (html, text) != self._shown:
            self._shown = (html, text)
            self._handle.update(_bundle(html, text), raw=True)


def _bundle(html: str, text: str) -> dict[str, str]:
    return {"text/html": html, "text/plain": text}


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
