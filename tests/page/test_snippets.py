"""The drawer for programs: its snippets name this host, and really run."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.page.chat import Chat

TABS = ["curl", "requests", "openai", "JavaScript"]


def snippet(chat: Chat, tab: str) -> str:
    drawer = chat.open_dialog("Use from code")
    drawer.get_by_role("tab", name=tab).click()
    drawer.get_by_role("button", name="Show token").click()
    code = drawer.get_by_role("tabpanel").get_by_role("code")
    expect(code).to_contain_text(chat.token)
    return code.inner_text()


def run(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_snippets_name_this_host(chat: Chat, picture: Callable[[str], None]) -> None:
    for tab in TABS:
        assert chat.url in snippet(chat, tab)
        picture(f"code-{tab.lower()}")
        chat.close_dialog()


def test_the_token_is_shown_only_once_it_is_asked_for(chat: Chat) -> None:
    drawer = chat.open_dialog("Use from code")
    expect(drawer).to_contain_text("YOUR_TOKEN")
    expect(drawer).not_to_contain_text(chat.token)
    drawer.get_by_role("button", name="Show token").click()
    expect(drawer).to_contain_text(chat.token)
    chat.close_dialog()
    expect(chat.open_dialog("Use from code")).not_to_contain_text(chat.token)


def test_the_curl_snippet_runs(chat: Chat, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("no curl; on Debian and Ubuntu: apt install curl")
    answer = json.loads(run(["bash", "-c", snippet(chat, "curl")], tmp_path))
    assert "Paris" in answer["answer"]["content"]


@pytest.mark.parametrize("tab", ["requests", "openai"])
def test_the_python_snippets_run(chat: Chat, tmp_path: Path, tab: str) -> None:
    assert "Paris" in run([sys.executable, "-c", snippet(chat, tab)], tmp_path)


def test_the_javascript_snippet_runs_on_a_page_of_another_origin(chat: Chat, browser: Browser) -> None:
    code = snippet(chat, "JavaScript")
    elsewhere = browser.new_context()
    page = elsewhere.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.evaluate(f"async () => {{ {code} }}")
    elsewhere.close()
    assert "Paris" in " ".join(said)


def test_a_snippet_is_copied_whole(chat: Chat) -> None:
    code = snippet(chat, "requests")
    chat.dialog("Use from code").get_by_role("button", name="Copy code").last.click()
    assert chat.page.evaluate("navigator.clipboard.readText()").strip() == code.strip()
