"""One whole portal with its lab and one Chromium for all browser tests."""

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from django.contrib.staticfiles import finders
from playwright.sync_api import Browser, Page, Route

from tests.browser.watch import WatchedPage, watched_page
from tests.support.chromium import MISSING, chromium, chromium_path
from tests.support.whole_portal import PATIENCE, WholePortal, whole_portal


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here needs Chromium."""
    for item in items:
        if "tests/browser/" in item.path.as_posix():
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Chromium; the tests are skipped where there is none."""
    if chromium_path() is None:
        pytest.skip(MISSING)
    with chromium() as started:
        yield started


@pytest.fixture(scope="package")
def portal(browser: Browser) -> Iterator[WholePortal]:
    """A running portal with the demo inventory and, where the kernel allows it, the lab."""
    with whole_portal(rate_ratio=0.1) as started:
        add_users(started, PATIENCE)
        yield started


MODULES_URL = "http://modules.invalid/"


@pytest.fixture(scope="package")
def module_page(browser: Browser) -> Iterator[Page]:
    """An empty page of nobody's portal, which our modules are loaded into: the files of the checkout answer."""
    with watched_page(browser, MODULES_URL) as watched:
        watched.page.route(f"{MODULES_URL}**", _answer_from_files)
        watched.open("/")
        yield watched.page


def _answer_from_files(route: Route) -> None:
    path = urlsplit(route.request.url).path
    if path == "/":
        route.fulfill(content_type="text/html", body="<!doctype html><title>modules</title>")
    elif found := finders.find(path.removeprefix("/static/")):
        route.fulfill(path=found)
    else:
        route.fulfill(status=404)


@pytest.fixture
def watched(browser: Browser, portal: WholePortal) -> Iterator[WatchedPage]:
    """A page of nobody; leaving the test fails on anything the console or the policy complained about."""
    with watched_page(browser, portal.url) as page:
        yield page


@pytest.fixture
def admin_page(watched: WatchedPage, portal: WholePortal) -> Page:
    """A page logged in as the first administrator; it shows nothing yet: tests open what they look at."""
    watched.log_in("admin", portal.password, then=None)
    return watched.page


USERS = {"vera": "viewer", "otto": "operator"}
USER_PASSWORD = "a-long-test-password-7"


def add_users(portal: WholePortal, then: str = "") -> None:
    """Add one viewer and one operator to the portal; go on with another script, because each start takes seconds."""
    script = "from django.contrib.auth.models import Group, User\n" + "".join(
        f"User.objects.create_user({name!r}, password={USER_PASSWORD!r}).groups.add(Group.objects.get(name={role!r}))\n"
        for name, role in USERS.items()
    )
    portal.manage("shell", "--command", script + then)
