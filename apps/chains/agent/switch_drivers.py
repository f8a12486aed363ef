"""What copies frames to a group's ports, by probing what the kernel has.

| driver | how | without it |
|---|---|---|
| ``bridge_mdb`` | entries of link-layer groups in the bridge's multicast database | |
| ``bridge_flood`` | the bridge copies frames to unknown groups to all ports | servers ignore what is not theirs |
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from nfvportal.lib.errors import InvalidInputError

COMMAND_WITHIN_S: Final = 10.0
# A group that no chain uses: what is there for the time of a probe.
_PROBE_GROUP: Final = "03:ff:ff:ff:ff:ff"
_OWN_PREFIX: Final = "03:"


class SwitchDriver(Protocol):
    """Programs a switch. ``probed``: back end -> ``ok`` or why it is not used."""

    name: str
    probed: dict[str, str]

    async def apply(self, groups: Mapping[str, frozenset[str]]) -> None:
        """Make the switch hold exactly these groups of ours.

        Raises:
            InvalidInputError: it refused one.
        """
        ...


class BridgeFlood:
    """Does nothing: an unprogrammed bridge delivers group frames to everybody."""

    name = "bridge_flood"

    def __init__(self, probed: dict[str, str]) -> None:
        self.probed = probed

    async def apply(self, groups: Mapping[str, frozenset[str]]) -> None:
        """Accept any groups."""


class BridgeMdb:
    """A Linux bridge's multicast database."""

    name = "bridge_mdb"

    def __init__(self, bridge: str, probed: dict[str, str]) -> None:
        self.probed = probed
        self._bridge = bridge

    async def apply(self, groups: Mapping[str, frozenset[str]]) -> None:
        """Add what is missing, then remove what is too much.

        Raises:
            InvalidInputError: the kernel refused an entry.
        """
        held = await self.held()
        wanted = {(mac, port) for mac, ports in groups.items() for port in ports}
        for mac, port in sorted(wanted - held):
            if error := await self._change("add", mac, port):
                raise InvalidInputError(f"groups.{mac}", f"the bridge refused port {port}: {error}")
        for mac, port in sorted(held - wanted):
            await self._change("del", mac, port)

    async def held(self) -> set[tuple[str, str]]:
        """Return the (group, port) entries of ours that the bridge has."""
        _, out, _ = await run(["bridge", "-json", "mdb", "show", "dev", self._bridge])
        tables = json.loads(out or "[]")
        return {
            (entry["grp"], entry["port"])
            for table in tables
            for entry in table.get("mdb", [])
            if str(entry.get("grp", "")).startswith(_OWN_PREFIX) and entry.get("state") == "permanent"
        }

    async def _change(self, verb: str, mac: str, port: str) -> str:
        argv = ["bridge", "mdb", verb, "dev", self._bridge, "port", port, "grp", mac, "permanent"]
        code, _, error = await run(argv)
        return "" if code == 0 else error or f"exit code {code}"

    async def probe(self, port: str) -> str:
        """Return ``ok``, or why the kernel does not take link-layer groups."""
        error = await self._change("add", _PROBE_GROUP, port)
        if error:
            return error
        await self._change("del", _PROBE_GROUP, port)
        return "ok"


async def choose_driver() -> SwitchDriver:
    """Return the best driver that works here."""
    _, out, _ = await run(["ip", "-json", "-details", "link", "show", "type", "bridge_slave"])
    slaves: list[dict[str, Any]] = [row for row in json.loads(out or "[]") if row.get("master")]
    if not slaves:
        return BridgeFlood({"bridge_mdb": "this device has no bridge"})
    mdb = BridgeMdb(slaves[0]["master"], {})
    answer = await mdb.probe(slaves[0]["ifname"])
    if answer == "ok":
        mdb.probed = {"bridge_mdb": "ok"}
        return mdb
    return BridgeFlood({"bridge_mdb": answer})


async def run(argv: Sequence[str]) -> tuple[int, str, str]:
    """Run a command; return exit code, output and what it complained about."""
    try:
        process = await asyncio.create_subprocess_exec(
            *argv, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
    except OSError as error:
        return 127, "", str(error)
    async with asyncio.timeout(COMMAND_WITHIN_S):
        out, error_text = await process.communicate()
    return process.returncode or 0, out.decode(), " ".join(error_text.decode().split())
