"""Labs for tests: one running lab per module, skipped with one clear line where the machine forbids it."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from nfvportal.lab.bring_up import require_tools
from nfvportal.lab.client import LabClient
from nfvportal.lab.isolation import probe_isolation
from nfvportal.lab.launch import launched_lab


@pytest.fixture(scope="session")
def lab_allowed() -> None:
    """Skip where the machine does not allow the lab."""
    if reason := require_tools() or probe_isolation():
        pytest.skip(f"no lab: {reason}")


@pytest.fixture
def short_directory() -> Iterator[Path]:
    """A directory whose path leaves room for a socket's name."""
    directory = Path(tempfile.mkdtemp(prefix="nfvlab-"))
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def branch_lab(lab_allowed: None) -> Iterator[LabClient]:
    """Topology branch, without agents."""
    with tempfile.TemporaryDirectory(prefix="nfvlab-") as directory, launched_lab(Path(directory)) as client:
        yield client


@pytest.fixture(scope="module")
def pair_lab(lab_allowed: None) -> Iterator[LabClient]:
    """Topology pair."""
    with (
        tempfile.TemporaryDirectory(prefix="nfvlab-") as directory,
        launched_lab(Path(directory), "pair") as client,
    ):
        yield client
