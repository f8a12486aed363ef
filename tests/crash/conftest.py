"""One whole portal with its live lab for all crash tests; each test finds it settled and leaves it so."""

from collections.abc import Iterator

import pytest

from nfvportal.lab.client import LabClient
from tests.crash.operator import Operator
from tests.support.whole_portal import PATIENCE, WholePortal, whole_portal


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all tests of this folder."""
    for item in items:
        if "tests/crash/" in item.path.as_posix():
            item.add_marker(pytest.mark.crash)


@pytest.fixture(scope="package")
def portal() -> Iterator[WholePortal]:
    """The running portal."""
    with whole_portal(rate_ratio=0.2) as running:
        running.manage("shell", "--command", PATIENCE)
        yield running


@pytest.fixture(scope="package")
def lab(portal: WholePortal) -> LabClient:
    """The portal's lab, reached without the portal."""
    return portal.lab()


@pytest.fixture(scope="package")
def _operator(portal: WholePortal, lab: LabClient) -> Operator:
    operator = Operator(portal, lab)
    operator.log_in()
    return operator


@pytest.fixture
def operator(_operator: Operator) -> Iterator[Operator]:
    """An operator in front of a settled portal; afterwards it must settle again."""
    _operator.wait_settled()
    yield _operator
    _operator.clear_faults()
    _operator.wait_settled()
