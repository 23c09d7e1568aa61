"""What a browser does beside what it is asked to: messages on its console, requests, dialogs, pop-ups, blocked loads.

Knows no page; a test says what it expects of it, everything else is a fault.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext, ConsoleMessage, Dialog, Page, Request

# The listener reports what the content security policy has stopped, also in a page that was left since.
_REPORT_VIOLATIONS = """
document.addEventListener("securitypolicyviolation", (event) =>
  reportViolation(`${event.effectiveDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`));
"""


class Watch:
    """Listens to all pages of a browser context from before its first one.

    Attributes:
        calls: what was given to ``canary``, a function on every page's ``window`` that no honest page calls.
        violations: what the content security policy has stopped.
        pages: all pages that were opened, pop-ups among them.
    """

    def __init__(self, context: BrowserContext) -> None:
        self.calls: list[str] = []
        self.violations: list[str] = []
        self.console: list[str] = []
        self.crashes: list[str] = []
        self.dialogs: list[str] = []
        self.urls: list[str] = []
        self.pages: list[Page] = []
        self._at_home: set[str] = set()
        self._expected: list[str] = []
        context.on("console", self._take_message)
        context.on("weberror", lambda error: self.crashes.append(str(error.error)))
        context.on("dialog", self._take_dialog)
        context.on("request", self._take_request)
        context.on("page", self._take_page)
        context.expose_function("canary", lambda *words: self.calls.append(" ".join(map(str, words))))
        context.expose_function("reportViolation", lambda line: self.violations.append(line))
        context.add_init_script(_REPORT_VIOLATIONS)

    def at_home(self, url: str) -> None:
        """Requests to the origin of ``url`` are the page's own."""
        self._at_home.add(_origin(url))

    def expect_message(self, pattern: str) -> None:
        """Lets messages pass that contain this regular expression: the browser itself reports a failed request."""
        self._expected.append(pattern)

    def faults(self) -> list[str]:
        """All that should not have happened, one line each."""
        told = [line for line in self.console if not any(re.search(known, line) for known in self._expected)]
        strangers = [url for url in self.urls if _origin(url) not in self._at_home]
        return [
            *(f"console: {line}" for line in told),
            *(f"uncaught: {line}" for line in self.crashes),
            *(f"request to another origin: {url}" for url in strangers),
            *(f"stopped by the policy: {line}" for line in self.violations),
            *(f"dialog: {line}" for line in self.dialogs),
            *(f"ran: {line}" for line in self.calls),
        ]

    def forget(self) -> None:
        """Begins anew; the pages stay."""
        for kept in (self.calls, self.violations, self.console, self.crashes, self.dialogs, self.urls):
            kept.clear()

    def _take_message(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning", "assert"):
            self.console.append(f"{message.type}: {message.text} ({message.location.get('url', '')})")

    def _take_dialog(self, dialog: Dialog) -> None:
        self.dialogs.append(f"{dialog.type}: {dialog.message}")
        dialog.dismiss()

    def _take_request(self, request: Request) -> None:
        self._take_url(request.url)

    def _take_url(self, url: str) -> None:
        if urlsplit(url).scheme in ("http", "https", "ws", "wss"):
            self.urls.append(url)

    def _take_page(self, page: Page) -> None:
        self.pages.append(page)
        page.on("websocket", lambda socket: self._take_url(socket.url))


def _origin(url: str) -> str:
    return urlsplit(url).netloc
