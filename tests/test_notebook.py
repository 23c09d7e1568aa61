"""What a person reads of a host outside of a notebook, and what is asked of the notebook itself."""

from __future__ import annotations

import sys
import threading
from types import ModuleType
from typing import Any

import pytest

from api_host.errors import ModelFileNotFound
from api_host.notebook import Announcement, colab_secret, in_notebook

TOKEN = "a-secret-token"
LOCAL = "http://127.0.0.1:5000"
PUBLIC = "https://some-words.trycloudflare.com"


def test_the_token_is_the_first_line_and_facts_follow(capsys: pytest.CaptureFixture[str]) -> None:
    announcement = Announcement(TOKEN, names_model=True)
    announcement.begin()
    announcement.local(LOCAL, is_all=False)
    assert capsys.readouterr().out.splitlines() == [f"Access token: {TOKEN}", f"Local URL: {LOCAL}"]
    announcement.public(PUBLIC)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"Public URL: {PUBLIC}"
    assert f"    client = Client({PUBLIC!r}, {TOKEN!r})" in lines
    announcement.no_public("no network")
    assert capsys.readouterr().out == "Public URL: none: no network\n"


def test_lines_for_a_laptop_come_with_the_url_it_is_to_use(capsys: pytest.CaptureFixture[str]) -> None:
    Announcement(TOKEN, names_model=False).local(LOCAL, is_all=True)
    assert f"    client = Client({LOCAL!r}, {TOKEN!r})" in capsys.readouterr().out.splitlines()


def test_a_host_without_a_token_warns(capsys: pytest.CaptureFixture[str]) -> None:
    announcement = Announcement(None, names_model=False)
    announcement.show_token(LOCAL, 60)
    out = capsys.readouterr().out
    assert out.startswith("WARNING: this host asks for no access token")
    assert "#token" not in out


def test_a_token_that_is_asked_for_is_printed_with_a_link_that_signs_in(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Announcement(TOKEN, names_model=False).show_token(PUBLIC, 60)
    assert capsys.readouterr().out.splitlines() == [
        f"Access token: {TOKEN}",
        f"Signed in with one click: {PUBLIC}/#token={TOKEN}",
    ]


def test_a_quiet_host_shows_its_token_to_who_asks(capsys: pytest.CaptureFixture[str]) -> None:
    Announcement(TOKEN, names_model=False, quiet=True).show_token(LOCAL, 60)
    assert capsys.readouterr().out.startswith(f"Access token: {TOKEN}\n")


def test_a_quiet_host_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    announcement = Announcement(None, names_model=True, quiet=True)
    announcement.begin()
    announcement.local(LOCAL, is_all=True)
    announcement.public(PUBLIC)
    announcement.failed("demo", ModelFileNotFound("gone"))
    announcement.say("Stopping")
    announcement.end()
    assert capsys.readouterr().out == ""


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
