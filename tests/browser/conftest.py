"""One whole portal with its lab and one Chromium for all browser tests."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.watch import WatchedPage, watched_page
from tests.support.chromium import MISSING, chromium, chromium_path
from tests.support.whole_portal import PATIENCE, WholePortal, whole_portal


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here needs Chromium. What starts a portal of its own comes first: two beside each other are slow."""
    for item in items:
        if "tests/browser/" in item.path.as_posix():
            item.add_marker(pytest.mark.browser)
    items.sort(key=lambda item: item.path.name != "test_chains_live.py")


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
    with whole_portal(rate_ratio=0.2) as started:
        add_users(started)
        started.manage("shell", "--command", PATIENCE)
        yield started


@pytest.fixture
def watched(browser: Browser, portal: WholePortal) -> Iterator[WatchedPage]:
    """A page of nobody; leaving the test fails on anything the console or the policy complained about."""
    with watched_page(browser, portal.url) as page:
        yield page


@pytest.fixture
def admin_page(watched: WatchedPage, portal: WholePortal) -> Page:
    """A page logged in as the first administrator, on the portal's lightest page: tests open what they look at."""
    watched.log_in("admin", portal.password, then="/tokens/")
    return watched.page


USERS = {"vera": "viewer", "otto": "operator"}
USER_PASSWORD = "a-long-test-password-7"


def add_users(portal: WholePortal) -> None:
    """Add one viewer and one operator to the portal."""
    script = "from django.contrib.auth.models import Group, User\n" + "".join(
        f"User.objects.create_user({name!r}, password={USER_PASSWORD!r}).groups.add(Group.objects.get(name={role!r}))\n"
        for name, role in USERS.items()
    )
    portal.manage("shell", "--command", script)
