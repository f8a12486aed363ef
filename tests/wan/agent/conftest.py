"""One lab with agents for the whole module, without a portal."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from nfvportal.lab.bring_up import require_tools
from nfvportal.lab.isolation import probe_isolation
from nfvportal.lab.launch import launched_lab
from tests.support.waiting import wait_until
from tests.wan.agent.branch import HOST_SPEC, Branch, gateway_spec


@pytest.fixture(scope="module")
def whole_branch() -> Iterator[Branch]:
    """Topology branch, all agents offline on specs of ours, all links up and the map at home."""
    if reason := require_tools() or probe_isolation():
        pytest.skip(f"no lab: {reason}")
    with tempfile.TemporaryDirectory(prefix="nfvlab-") as name:
        agents = Path(name) / "agents"
        specs = {
            "gw-a": {"wan.gateway": gateway_spec("a")},
            "gw-b": {"wan.gateway": gateway_spec("b")},
            "branch-host": {"wan.host": HOST_SPEC},
        }
        for node, roles in specs.items():
            (agents / node).mkdir(parents=True)
            desired = {role: {"revision": 1, "spec": spec} for role, spec in roles.items()}
            (agents / node / "desired.json").write_text(json.dumps(desired))
        arguments = ["--agents-dir", str(agents), "--portal", "none", "--journal"]
        with launched_lab(Path(name), "branch", arguments) as client:
            branch = Branch(client, agents)
            wait_until(branch.is_well, "all links are up and the map is at home", 15)
            yield branch


@pytest.fixture
def branch(whole_branch: Branch) -> Iterator[Branch]:
    """The branch, well before the test and mended after it."""
    whole_branch.mend()
    yield whole_branch
    whole_branch.mend()
