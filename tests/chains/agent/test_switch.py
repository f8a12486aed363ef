"""Groups in the fabric: one frame in, one copy to each member and to nobody else."""

import asyncio
import json
import subprocess
from collections.abc import Mapping
from typing import Any

import pytest

from apps.chains.agent.packet_sockets import PacketSocket
from apps.chains.agent.switch import Switch, parse_switch_spec
from apps.chains.engine.shim import ETHER_TYPE, Shim, shim_encode
from nfvportal.lib.errors import InvalidInputError
from tests.nfvportal.agent.in_namespace import in_namespace

GROUP = "03:00:00:07:01:02"
PORTS = ("p1", "p2", "p3", "p4")


class Context:
    """Keeps what the role tells."""

    device, role, state_dir = "switch", "chains.switch", None

    def __init__(self) -> None:
        self.told: list[Mapping[str, Any]] = []

    def emit(self, event: str, data: Mapping[str, Any], at_s: float | None = None) -> None:
        self.told.append(data)


def make_bridge() -> None:
    """A bridge with four ports; their other ends are e1 to e4."""
    lines = ["link add name br0 type bridge stp_state 0 forward_delay 0", "link set br0 up"]
    for port in PORTS:
        end = port.replace("p", "e")
        lines += [f"link add {port} type veth peer name {end}", f"link set {port} master br0 up"]
        lines += [f"link set {end} up"]
    subprocess.run(["ip", "-batch", "-"], input="\n".join(lines), text=True, check=True)


def copies(group: str) -> dict[str, int]:
    """Send one frame into p1 and count what leaves by the other ports."""
    ends = {port: PacketSocket(port.replace("p", "e"), ETHER_TYPE, is_promiscuous=True) for port in PORTS}
    mac = bytes.fromhex(group.replace(":", ""))
    frame = shim_encode(mac, b"\x02\0\0\0\0\x09", Shim(7, 2, 1, 1, 1), bytes(60))
    ends["p1"].send(frame)
    # Veth delivers before send returns.
    found = {port: len([one for one in end.frames() if one == frame]) for port, end in ends.items()}
    for end in ends.values():
        end.close()
    return found


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
