"""Groups in the fabric: one frame in, one copy to each member and to nobody else."""

import asyncio
import json
import subprocess

import pytest

from apps.chains.agent.switch import Switch, parse_switch_spec
from nfvportal.lib.errors import InvalidInputError
from tests.chains.agent.switch_bed import GROUP, Context, copies, make_bridge
from tests.nfvportal.agent.in_namespace import in_namespace


@in_namespace
def test_a_group_frame_reaches_each_member_once_and_nobody_else() -> None:
    make_bridge()
    context = Context()
    switch = Switch(context)  # type: ignore[arg-type]
    assert copies(GROUP) == {"p1": 0, "p2": 1, "p3": 1, "p4": 1}, "unknown groups are flooded"
    asyncio.run(switch.apply({"groups": {GROUP: ["p2", "p4"]}}))
    assert context.told[-1]["driver"] == "bridge_mdb"
    assert copies(GROUP) == {"p1": 0, "p2": 1, "p3": 0, "p4": 1}
    asyncio.run(switch.apply({"groups": {GROUP: ["p2", "p3"]}}))
    asyncio.run(switch.apply({"groups": {GROUP: ["p2", "p3"]}}))
    assert copies(GROUP) == {"p1": 0, "p2": 1, "p3": 1, "p4": 0}, "another group, applied twice"
    asyncio.run(switch.apply({}))
    held = subprocess.run(["bridge", "-json", "mdb", "show"], capture_output=True, text=True, check=True)
    assert GROUP not in held.stdout


@in_namespace
def test_another_driver_takes_over_when_it_is_asked_for() -> None:
    make_bridge()
    context = Context()
    switch = Switch(context)  # type: ignore[arg-type]
    for driver, ports in (("tc_mirred", ["p2"]), ("bridge_flood", ["p2"]), ("", ["p3"])):
        asyncio.run(switch.apply({"groups": {GROUP: ports}, "driver": driver}))
        reached = {port for port, count in copies(GROUP).items() if count}
        assert reached == ({"p2", "p3", "p4"} if driver == "bridge_flood" else set(ports))
    assert context.told[-1]["driver"] == "bridge_mdb"


@in_namespace
def test_a_device_without_bridge_says_so() -> None:
    context = Context()
    asyncio.run(Switch(context).apply({"groups": {}}))  # type: ignore[arg-type]
    assert context.told[-1]["driver"] == "bridge_flood"
    assert "no bridge" in json.dumps(context.told[-1]["probed"])


@in_namespace
def test_a_port_that_is_not_there_is_named() -> None:
    make_bridge()
    with pytest.raises(InvalidInputError, match="port p9"):
        asyncio.run(Switch(Context()).apply({"groups": {GROUP: ["p9"]}}))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "groups", [[], {"02:00:00:00:00:01": ["p1"]}, {GROUP: []}, {GROUP: "p1"}, {GROUP: ["a b"]}, {"x": ["p1"]}]
)
def test_other_specs_are_refused(groups: object) -> None:
    with pytest.raises(InvalidInputError) as caught:
        parse_switch_spec({"groups": groups})
    assert caught.value.field.startswith("groups")


def test_an_unknown_driver_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="must be one of openflow, bridge_mdb"):
        parse_switch_spec({"driver": "abacus"})
