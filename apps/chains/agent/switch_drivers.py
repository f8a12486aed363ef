"""What copies frames to a group's ports, by probing what the kernel has.

| driver | how | without it |
|---|---|---|
| ``openflow`` | groups of a switch that speaks OpenFlow 1.3, see ``switch_openflow`` | |
| ``bridge_mdb`` | entries of link-layer groups in the bridge's multicast database | |
| ``bpf_clone`` | a program of ours on each port, see ``switch_bpf`` | |
| ``nft_dup`` | a table of nftables on each port, see ``switch_nft`` | |
| ``tc_mirred`` | filters of traffic control on each port, see ``switch_tc`` | |
| ``bridge_flood`` | the bridge copies frames to unknown groups to all ports | servers ignore what is not theirs |
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final, Protocol

from apps.chains.agent.switch_bpf import BpfClone
from apps.chains.agent.switch_commands import Bridge, bridge_find, run_batch, run_json
from apps.chains.agent.switch_nft import NftDup
from apps.chains.agent.switch_openflow import OpenFlow
from apps.chains.agent.switch_tc import TcMirred
from apps.chains.engine.steering import OWN_PREFIX, PROBE_GROUP
from nfvportal.lib.errors import InvalidInputError


class SwitchDriver(Protocol):
    """Programs a switch."""

    name: str

    async def probe(self) -> str:
        """Return ``ok``, or why it cannot be used here. Leaves nothing behind."""
        ...

    async def apply(self, groups: Mapping[str, frozenset[str]]) -> None:
        """Make the switch hold exactly these groups of ours.

        Raises:
            InvalidInputError: it refused one.
        """
        ...


class BridgeFlood:
    """Does nothing: an unprogrammed bridge delivers group frames to everybody."""

    name = "bridge_flood"

    async def probe(self) -> str:
        """Return ``ok``: there is nothing that could fail."""
        return "ok"

    async def apply(self, groups: Mapping[str, frozenset[str]]) -> None:
        """Accept any groups."""


class BridgeMdb:
    """A Linux bridge's multicast database."""

    name = "bridge_mdb"

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge

    async def apply(self, groups: Mapping[str, frozenset[str]]) -> None:
        """Add what is missing, then remove what is too much.

        Raises:
            InvalidInputError: the kernel refused an entry.
        """
        held = await self.held()
        wanted = {(mac, port) for mac, ports in groups.items() for port in ports}
        added, removed = sorted(wanted - held), sorted(held - wanted)
        commands = [self._command("add", *entry) for entry in added]
        commands += [self._command("del", *entry) for entry in removed]
        index, error = await run_batch("bridge", commands)
        if error and index < len(added):
            mac, port = added[index]
            raise InvalidInputError(f"groups.{mac}", f"the bridge refused port {port}: {error}")

    async def held(self) -> set[tuple[str, str]]:
        """Return the (group, port) entries of ours that the bridge has."""
        tables = await run_json(["bridge", "-json", "mdb", "show", "dev", self._bridge.name])
        return {
            (entry["grp"], entry["port"])
            for table in tables
            for entry in table.get("mdb", [])
            if str(entry.get("grp", "")).startswith(OWN_PREFIX) and entry.get("state") == "permanent"
        }

    def _command(self, verb: str, mac: str, port: str) -> str:
        return f"mdb {verb} dev {self._bridge.name} port {port} grp {mac} permanent"

    async def probe(self) -> str:
        """Return ``ok``, or why the kernel does not take link-layer groups."""
        port = self._bridge.ports[0]
        commands = [self._command(verb, PROBE_GROUP, port) for verb in ("add", "del")]
        _, error = await run_batch("bridge", commands)
        return error or "ok"


# Best first. A copy costs about the same by all four (tests/benchmarks/chains_mirror.py), so other reasons decide: the
# bridge's own database lets the bridge learn who sends; a program survives ``nft flush ruleset``, which a restart of
# the device's firewall does; filters of traffic control are passed one by one, by frames of no group as well.
PREFERENCE: Final = (BridgeMdb, BpfClone, NftDup, TcMirred)
DRIVERS: Final = (OpenFlow.name, *(kind.name for kind in PREFERENCE), BridgeFlood.name)
# Where Open vSwitch listens for whoever manages its bridges on the same device.
OVS_DIRECTORY: Final = Path("/run/openvswitch")
NO_CONNECTION: Final = "no connection to a switch was given"


async def choose_driver(wanted: str = "", connection: str = "") -> tuple[SwitchDriver, dict[str, str]]:
    """Return the best driver that works here, or the one that is wanted, and what each driver's probe said.

    Drivers that are not chosen hold nothing of ours afterwards. With a ``connection`` to a switch that speaks OpenFlow
    there is no other choice: the frames pass that switch. A device without a bridge may have Open vSwitch.

    Raises:
        InvalidInputError: the wanted one does not work here.
    """
    bridge = None if connection else await bridge_find()
    found = [] if connection or bridge else sorted(OVS_DIRECTORY.glob("*.mgmt"))
    if connection:
        drivers: list[SwitchDriver] = [OpenFlow(connection)]
        absent = dict.fromkeys(DRIVERS, "the frames pass the switch of the connection")
    elif bridge:
        drivers = [*(kind(bridge) for kind in PREFERENCE), BridgeFlood()]
        absent = {OpenFlow.name: NO_CONNECTION}
    else:
        drivers = [*(OpenFlow(f"unix:{path}") for path in found[:1]), BridgeFlood()]
        absent = {OpenFlow.name: NO_CONNECTION} | {
            kind.name: "this device has no bridge" for kind in PREFERENCE
        }
    probed = absent | {driver.name: await driver.probe() for driver in drivers}
    usable = [driver for driver in drivers if probed[driver.name] == "ok"]
    chosen = next((driver for driver in usable if wanted in ("", driver.name)), None)
    if chosen is None:
        name = wanted or drivers[0].name
        raise InvalidInputError("driver", f"{name} does not work here: {probed[name]}")
    for driver in usable:
        if driver is not chosen:
            await driver.apply({})
    return chosen, probed
