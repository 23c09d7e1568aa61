"""What a person sees: lines, and in a notebook a card that follows the facts."""

from __future__ import annotations

import sys
import threading
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from api_host.notebook import LOCAL, PUBLIC, Announcement, colab_secret, in_notebook, snippet

TOKEN = "a-secret-<b>token</b>"


class Shell:
    """IPython as a kernel has it, with what was displayed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.shown: list[str] = []
        self.kernel = object()
        ipython, display = ModuleType("IPython"), ModuleType("IPython.display")
        ipython.get_ipython = lambda: self  # type: ignore[attr-defined]
        display.HTML = str  # type: ignore[attr-defined]
        display.display = self.display  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "IPython", ipython)
        monkeypatch.setitem(sys.modules, "IPython.display", display)

    def display(self, text: str, display_id: bool) -> SimpleNamespace:
        position = len(self.shown)
        self.shown.append(text)

        def update(text: str) -> None:
            self.shown[position] = text

        return SimpleNamespace(update=update)


def test_the_token_is_the_first_line_and_facts_follow(capsys: pytest.CaptureFixture[str]) -> None:
    announcement = Announcement(quiet=False, names_model=True)
    announcement.begin(TOKEN)
    announcement.show(LOCAL, "http://127.0.0.1:5000")
    announcement.show_snippet("http://127.0.0.1:5000")
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [f"Access token: {TOKEN}", "Local URL: http://127.0.0.1:5000"]
    assert f"    client = Client('http://127.0.0.1:5000', {TOKEN!r})" in lines


def test_a_quiet_host_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    announcement = Announcement(quiet=True, names_model=True)
    announcement.begin(None)
    announcement.show(LOCAL, "http://127.0.0.1:5000")
    assert capsys.readouterr().out == ""


def test_the_snippet_is_python_whatever_the_token_and_names_a_model_only_where_it_must() -> None:
    for names_model in (True, False):
        code = snippet("https://x.example", 'quote"and\\slash', names_model)
        compile(code, "snippet", "exec")
        assert ("model=" in code) == names_model
    assert "Client('https://x.example')" in snippet("https://x.example", None, True)


def test_a_cell_shows_one_card_where_a_new_url_replaces_the_old_one(monkeypatch: pytest.MonkeyPatch) -> None:
    shell = Shell(monkeypatch)
    assert in_notebook()
    announcement = Announcement(quiet=False, names_model=False)
    announcement.begin(TOKEN)
    announcement.show(LOCAL, "http://127.0.0.1:5000")
    announcement.show(PUBLIC, "https://old.trycloudflare.com")
    announcement.show(PUBLIC, "https://new.trycloudflare.com")
    (card,) = shell.shown
    assert "https://new.trycloudflare.com" in card
    assert "https://old.trycloudflare.com" not in card
    assert "<details><summary>Access token</summary>" in card
    announcement.begin(TOKEN)
    announcement.show(LOCAL, "http://127.0.0.1:5000")
    assert len(shell.shown) == 2


def test_everything_on_the_card_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    shell = Shell(monkeypatch)
    announcement = Announcement(quiet=False, names_model=True)
    announcement.begin(TOKEN)
    announcement.show(PUBLIC, 'none: <script>alert("1")</script>')
    assert "<script>" not in shell.shown[0]
    assert "<b>token</b>" not in shell.shown[0]


def test_outside_of_a_kernel_there_is_no_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    assert not in_notebook()


@pytest.fixture
def colab(monkeypatch: pytest.MonkeyPatch) -> Any:
    """google.colab with one secret; asked from another thread it would hang, here it fails."""
    userdata = ModuleType("google.colab.userdata")
    for name in ("SecretNotFoundError", "NotebookAccessError", "TimeoutException"):
        setattr(userdata, name, type(name, (Exception,), {}))

    def get(name: str) -> str:
        assert threading.current_thread() is threading.main_thread()
        if name != "HF_TOKEN":
            raise userdata.SecretNotFoundError(name)
        return "hf_secret"

    userdata.get = get  # type: ignore[attr-defined]
    for name, module in (("google", ModuleType("google")), ("google.colab", ModuleType("google.colab"))):
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setitem(sys.modules, "google.colab.userdata", userdata)
    return userdata


@pytest.mark.usefixtures("colab")
def test_a_colab_secret_is_read_on_the_main_thread_only() -> None:
    assert colab_secret("HF_TOKEN") == "hf_secret"
    assert colab_secret("OTHER") is None
    answers: list[str | None] = []
    thread = threading.Thread(target=lambda: answers.append(colab_secret("HF_TOKEN")))
    thread.start()
    thread.join()
    assert answers == [None]


def test_elsewhere_there_is_no_colab_secret() -> None:
    assert colab_secret("HF_TOKEN") is None
