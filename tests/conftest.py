"""Fixtures for all tests. The servers start earlier, in ``tests/support/services.py``."""

from typing import Any

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

# How long an example takes says more about the machine than about the code: no stopwatch in tests.
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")

TRAFFIC = "tests/lab/traffic/"
# One portal serves all browser tests but these; flows over the loopback take ports that were free a moment ago.
ONE_PROCESS_EACH = ("tests/browser/", TRAFFIC)
OWN_PORTAL = "tests/browser/test_chains_live.py"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what ``make test`` runs in its second part: whatever starts a lab or a whole portal, or takes ports."""
    for item in items:
        uses_portal = "portal" in getattr(item, "fixturenames", ())
        if uses_portal or item.get_closest_marker("lab") or item.nodeid.startswith(TRAFFIC):
            item.add_marker(pytest.mark.machine)


class PortalScheduling(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Hands out files as wholes, and all files of one portal to one process."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        shared = (place for place in ONE_PROCESS_EACH if file.startswith(place) and file != OWN_PORTAL)
        return next(shared, file)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> PortalScheduling | None:
    """Answer ``--dist loadfile``."""
    return PortalScheduling(config, log) if config.getvalue("dist") == "loadfile" else None
