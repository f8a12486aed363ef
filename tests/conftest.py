"""Fixtures for all tests. The servers start earlier, in ``tests/support/services.py``."""

import pytest
from hypothesis import settings

# How long an example takes says more about the machine than about the code: no stopwatch in tests.
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")

# Tests that share the machine's clock, namespaces or ports run one after the other, and nothing beside them.
PLACES_ONE_AT_A_TIME = ("tests/browser/", "tests/crash/", "tests/lab/", "tests/supervise/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what ``make test`` runs by itself, after all that two processes can run side by side."""
    for item in items:
        place = item.path.as_posix()
        if any(part in place for part in PLACES_ONE_AT_A_TIME) or item.get_closest_marker("lab"):
            item.add_marker(pytest.mark.machine)
