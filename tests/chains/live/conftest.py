"""One whole portal whose lab is the data centre, for all tests of chains that carry packets."""

from collections.abc import Iterator

import pytest

from nfvportal.lab.client import LabClient
from tests.browser.conftest import add_users, admin_page, browser, watched
from tests.support.whole_portal import WholePortal, whole_portal

__all__ = ["admin_page", "browser", "watched"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that need Chromium, and the one that kills a worker."""
    for item in items:
        if "tests/chains/live/" in item.path.as_posix():
            item.add_marker(pytest.mark.browser if item.path.stem == "test_in_browser" else pytest.mark.crash)


@pytest.fixture(scope="package")
def portal() -> Iterator[WholePortal]:
    """The running portal, with a viewer and an operator."""
    with whole_portal("--topology", "datacenter") as running:
        add_users(running)
        yield running


@pytest.fixture(scope="package")
def lab(portal: WholePortal) -> LabClient:
    """The portal's lab, reached without the portal."""
    return portal.lab()
