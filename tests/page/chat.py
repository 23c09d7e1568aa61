"""The chat page as a person meets it: by the names that a screen reader says, never by how it is built."""

from __future__ import annotations

import re

from playwright.sync_api import Locator, Page


class Chat:
    """The page of one host in a browser's tab.

    Args:
        page: the tab.
        url: the host's.
        token: opens it.
    """

    def __init__(self, page: Page, url: str, token: str) -> None:
        self.page = page
        self.url = url
        self.token = token

    def open(self) -> Chat:
        """Opens the page with the token in the fragment, as the link of the host's card does."""
        self.page.goto(f"{self.url}/#token={self.token}")
        self.message.wait_for()
        return self

    @property
    def message(self) -> Locator:
        return self.page.get_by_role("textbox", name="Message", exact=True)

    @property
    def questions(self) -> Locator:
        return self.page.get_by_role("article", name="You", exact=True)

    @property
    def answers(self) -> Locator:
        return self.page.get_by_role("article", name="Assistant", exact=True)

    @property
    def alert(self) -> Locator:
        return self.page.get_by_role("alert")

    @property
    def status(self) -> Locator:
        return self.page.get_by_role("status")

    @property
    def conversations(self) -> Locator:
        return self.page.get_by_role("navigation", name="Conversations")

    def button(self, name: str | re.Pattern[str]) -> Locator:
        return self.page.get_by_role("button", name=name, exact=isinstance(name, str))

    def dialog(self, name: str) -> Locator:
        return self.page.get_by_role("dialog", name=name)

    def open_dialog(self, name: str) -> Locator:
        """Opens a dialog by the button of its name."""
        self.button(name).click()
        self.dialog(name).wait_for()
        return self.dialog(name)

    def settings(self) -> Locator:
        """The open settings, with every group unfolded."""
        dialog = self.open_dialog("Settings")
        dialog.get_by_label("max_tokens", exact=True).wait_for()
        folded = dialog.locator("details:not([open]) > summary")
        while folded.count():
            folded.first.click()
        return dialog

    def close_dialog(self) -> None:
        self.page.keyboard.press("Escape")
        self.page.get_by_role("dialog").wait_for(state="hidden")

    def begin(self, text: str) -> None:
        """Sends a message and returns when its answer has a place."""
        self.message.fill(text)
        answers = self.answers.count()
        self.button("Send").click()
        self.answers.nth(answers).wait_for()

    def ask(self, text: str) -> Locator:
        """Sends a message and returns its answer when that has ended."""
        self.begin(text)
        self.wait_for_end()
        return self.answers.last

    def wait_for_end(self) -> None:
        self.button("Stop").wait_for(state="hidden")
        self.button("Send").wait_for()

    def stop(self) -> None:
        self.button("Stop").click()
        self.wait_for_end()

    def start_conversation(self) -> None:
        self.button("New conversation").click()
        self.questions.first.wait_for(state="hidden")
