"""Mirrors of a hybrid chain in the fabric: every driver, and a switch that speaks OpenFlow; equal bytes each time."""

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from apps.chains.agent.switch_drivers import PREFERENCE
from apps.chains.engine.steering import Group, groups_of, switch_groups
from nfvportal.lab.bring_up import require_tools
from nfvportal.lab.isolation import probe_isolation
from tests.chains.agent.test_plane_in_lab import (
    HYBRID,
    NORTH_SOUTH,
    ONE,
    PATIENT_US,
    RATE_PPS,
    THREE,
    TWO,
    expected,
    frames_of,
)
from tests.support.open_vswitch import OpenVSwitch, why_not
from tests.support.rack import SERVERS, Rack, Run, rack
from tests.support.waiting import wait_until

pytestmark = pytest.mark.lab
PORTS = {name: f"to-{name.removeprefix('dc-')}" for name in SERVERS}
EVERY_PORT = ("to-classifier", *PORTS.values())
COUNT = 2000
# Open vSwitch forwards when the scheduler lets it, and drops what its sockets cannot hold meanwhile.
OVS_RATE_PPS = 400


@pytest.fixture(scope="module")
def lab() -> Iterator[Rack]:
    """The data centre, agents offline."""
    if reason := require_tools() or probe_isolation():
        pytest.skip(f"no lab: {reason}")
    with rack() as running:
        yield running


def received(lab: Rack, server: str) -> int:
    """Return how many frames a server's interface has taken."""
    answer = lab.lab.exec(server, ["ip", "-json", "-statistics", "link", "show", "dev", "fabric"])
    return int(json.loads(answer["stdout"])[0]["stats64"]["rx"]["packets"])


def pass_by(lab: Rack, rate_pps: float = RATE_PPS, **spec: str) -> tuple[str, int]:
    """Send frames with the mirror's groups in the switch; return the driver's name and what the third server took."""
    table = Run(NORTH_SOUTH, HYBRID).table
    groups: list[Group] = list(groups_of(table, 7, 1))
    assert [group.members for group in groups] == [(ONE, TWO)], "the third server has no branch of the mirror"
    wanted = {mac: list(ports) for mac, ports in switch_groups(groups, PORTS).items()}
    state = lab.want_until(
        "dc-switch", "chains.switch", {"groups": wanted, **spec}, lambda state: state["groups"] == wanted
    )
    macs = {str(group.operator): group.mac for group in groups}
    lab.install([Run(NORTH_SOUTH, HYBRID, timeout_us=PATIENT_US, groups=macs)])
    assert lab.events("dc-classifier", "chains.classifier.state")[-1]["mirror"] == "groups of the fabric"
    before = received(lab, THREE)
    frames = frames_of(COUNT, seed=2)
    found, _ = lab.pass_through(frames, rate_pps)
    assert found == expected(NORTH_SOUTH, frames)
    took = received(lab, THREE) - before
    lab.install([])
    lab.want_until("dc-switch", "chains.switch", {"groups": {}, **spec}, lambda state: not state["groups"])
    return str(state["driver"]), took


@pytest.mark.parametrize("name", [kind.name for kind in PREFERENCE])
def test_every_driver_copies_for_the_members_only(lab: Rack, name: str) -> None:
    state = lab.want_until("dc-switch", "chains.switch", {"groups": {}}, lambda _: True)
    if state["probed"][name] != "ok":
        pytest.skip(f"{name}: {state['probed'][name]}")
    driver, took = pass_by(lab, driver=name)
    assert driver == name
    # One frame per packet from the merge, and what the bridge floods until it knows an address.
    assert took < COUNT * 1.1


def test_flooding_is_right_and_costs_more(lab: Rack) -> None:
    driver, took = pass_by(lab, driver="bridge_flood")
    assert driver == "bridge_flood"
    assert took > COUNT * 1.5


@contextmanager
def open_vswitch_in(lab: Rack) -> Iterator[OpenVSwitch]:
    """Put Open vSwitch in the place of the bridge."""
    directory = Path(lab.directory, "ovs")
    directory.mkdir()
    for port in EVERY_PORT:
        lab.lab.exec("dc-switch", ["ip", "link", "set", port, "nomaster"])
    lab.lab.exec("dc-switch", ["ip", "link", "delete", "br0"])
    argv = [sys.executable, "-m", "tests.support.open_vswitch", str(directory), *EVERY_PORT]
    answer: dict[str, object] = {}
    running = threading.Thread(
        target=lambda: answer.update(lab.lab.exec("dc-switch", argv, 300)), daemon=True
    )
    running.start()
    try:
        wait_until(lambda: (directory / "ready").exists() or bool(answer), "Open vSwitch runs", 30)
        assert not answer, answer
        yield OpenVSwitch(directory)
    finally:
        (directory / "stop").touch()
        running.join(30)
    assert answer["exit_code"] == 0, answer


def test_a_switch_that_speaks_openflow_carries_the_chain(lab: Rack) -> None:
    """Last in this file: the bridge does not come back."""
    if reason := why_not():
        pytest.skip(reason)
    with open_vswitch_in(lab) as switch:
        driver, took = pass_by(lab, OVS_RATE_PPS, connection=switch.connection)
        assert driver == "openflow"
        assert took < COUNT * 1.1
        assert "type=all" not in switch.ofctl("dump-groups"), "taken away again"
