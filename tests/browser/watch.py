"""A page that remembers everything the browser complained about."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin

from playwright.sync_api import Browser, ConsoleMessage, Page, expect

# Runs before any script of the page; the messages reach us through the console.
LISTEN = """
addEventListener("securitypolicyviolation", (event) => {
  console.error(`CSP ${event.effectiveDirective} blocked ${event.blockedURI} ${event.sample} in ${event.sourceFile}`);
});
"""

# Another portal may be starting beside this one; only a page that never comes is a failure.
WITHIN_MS = 30_000
expect.set_options(timeout=WITHIN_MS / 2)
LIGHTEST = "/tokens/"  # the page that asks least of the portal

# (portal, person) -> cookies of the last log-in: a password is slow to check on purpose.
_sessions: dict[tuple[str, str], list[Any]] = {}


@dataclass
class WatchedPage:
    """A page with its complaints; ``expected`` holds words of complaints a test provokes on purpose."""

    page: Page
    base_url: str
    complaints: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)

    def open(self, path: str) -> None:
        """Go to a path of the portal."""
        self.page.goto(urljoin(self.base_url, path))

    def log_in(self, username: str, password: str, then: str | None = "/") -> None:
        """Log in and go on to a path: through the form, unless this person's session of an earlier test still holds.

        Without a path a known session is only taken over: the test opens what it looks at.
        """
        person = (self.base_url, username)
        if person in _sessions:
            self.page.context.add_cookies(_sessions[person])
            if then is None:
                return
            self.open(then)
            if self.page.url == urljoin(self.base_url, then):
                return
        then = then or LIGHTEST
        self.open(f"/login/?next={then}")
        self.page.get_by_label("Username").fill(username)
        self.page.get_by_label("Password").fill(password)
        self.page.get_by_role("button", name="Log in").click()
        self.page.wait_for_url(urljoin(self.base_url, then))
        _sessions[person] = [
            {name: cookie[name] for name in ("name", "value", "url", "domain", "path") if name in cookie}
            for cookie in self.page.context.cookies()
        ]

    def unexpected(self) -> list[str]:
        """Return the complaints that no test asked for."""
        return [line for line in self.complaints if not any(words in line for words in self.expected)]


@contextlib.contextmanager
def watched_page(browser: Browser, base_url: str, **context_options: Any) -> Iterator[WatchedPage]:
    """Open a page in a context of its own; on leaving, fail on every complaint that was not expected."""
    context = browser.new_context(base_url=base_url, **context_options)
    context.add_init_script(LISTEN)
    page = context.new_page()
    page.set_default_timeout(WITHIN_MS)
    watched = WatchedPage(page, base_url)

    def on_console(message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            watched.complaints.append(f"{message.type}: {message.text}")

    page.on("console", on_console)
    page.on("pageerror", lambda error: watched.complaints.append(f"exception: {error}"))
    try:
        yield watched
        assert watched.unexpected() == []
    finally:
        context.close()
