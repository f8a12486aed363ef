"""Fixtures for all tests. The servers start earlier, in ``tests/support/services.py``."""

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

# How long an example takes says more about the machine than about the code: no stopwatch in tests.
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")

# Whole portals whose traffic is timed, gateways that 30 ms without a processor would make fail over (an ordinary user's
# have no priority), and flows over the loopback: nothing beside them.
ALONE = (
    "tests/chains/live/",
    "tests/crash/",
    "tests/lab/traffic/test_program.py",
    "tests/lab/traffic/test_role.py",
    "tests/lab/traffic/test_streams.py",
    "tests/lab/traffic/test_voice.py",
    "tests/mptcp/test_in_lab.py",
    "tests/wan/agent/test_failover_in_lab.py",
)
# One portal serves all others of these.
BROWSER = "tests/browser/"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Import nothing that one of the two parts would only pass over: that alone takes seconds."""
    if config.getoption("markexpr") not in ("machine", "not machine") or collection_path.suffix != ".py":
        return None
    if not collection_path.name.startswith("test_"):
        return None
    is_alone = collection_path.relative_to(config.rootpath).as_posix().startswith(ALONE)
    return True if is_alone != (config.getoption("markexpr") == "machine") else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what ``make test`` runs in its second part, alone; what takes longest in the first begins it."""
    for item in items:
        if item.nodeid.startswith(ALONE):
            item.add_marker(pytest.mark.machine)
    items.sort(key=lambda item: (not item.nodeid.startswith(BROWSER), item.get_closest_marker("lab") is None))


# Files that use no database. Tests that do keep their order: those that empty it come last.
WHOLE_FILES = re.compile(
    r"tests/lab/.*|.*_in_lab\.py|.*/test_real_traffic\.py|.*/engine/.*|tests/supervise/test_up\.py"
)


class PortalScheduling(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Hands out all tests of the browser's portal as one, those of a lab by file, and others one by one, in order."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        if file.startswith(BROWSER):
            return BROWSER
        return file if WHOLE_FILES.fullmatch(file) else nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> PortalScheduling | None:
    """Answer ``--dist loadscope``."""
    return PortalScheduling(config, log) if config.getvalue("dist") == "loadscope" else None
