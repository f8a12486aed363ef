"""Role ``chains.switch``: makes the fabric copy the frames of parallel blocks, with what this device's kernel has.

Spec: ``{"groups": {"03:00:00:07:01:02": ["to-server-1", "to-server-2"]}}``: group address -> ports. ``"driver"`` asks
for one back end by name; without it the best one that works here is used. ``"connection": "unix:/run/br0.mgmt"`` (or
``tcp:address:port``) names a switch that listens for OpenFlow 1.3.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from apps.chains.agent.switch_drivers import DRIVERS, SwitchDriver, choose_driver
from apps.chains.agent.switch_openflow import OpenFlow, check_connection
from nfvportal.agent.role import RoleContext
from nfvportal.lib.errors import InvalidInputError

GROUPS_MAX: Final = 1024
PORTS_MAX: Final = 64
_GROUP_MAC = re.compile(r"[0-9a-f][13579bdf](:[0-9a-f]{2}){5}")
_PORT = re.compile(r"[A-Za-z0-9_.-]{1,15}")
Groups = dict[str, frozenset[str]]


@dataclass(frozen=True, slots=True)
class SwitchSpec:
    """What a switch shall hold; ``driver``: by which back end, empty for the best one."""

    groups: Groups
    driver: str = ""
    connection: str = ""


def parse_switch_spec(spec: Mapping[str, Any]) -> SwitchSpec:
    """Return what the portal asks of a switch.

    Raises:
        InvalidInputError: a field breaks its limit.
    """
    raw = spec.get("groups", {})
    if not isinstance(raw, Mapping) or len(raw) > GROUPS_MAX:
        raise InvalidInputError("groups", f"must be an object of at most {GROUPS_MAX} groups")
    groups: Groups = {}
    for mac, ports in raw.items():
        if not _GROUP_MAC.fullmatch(str(mac)):
            raise InvalidInputError(f"groups.{mac}", "must be a group MAC address, e.g. 03:00:00:07:01:02")
        if not isinstance(ports, list) or not 0 < len(ports) <= PORTS_MAX:
            raise InvalidInputError(f"groups.{mac}", f"must be a list of 1 to {PORTS_MAX} ports")
        for port in ports:
            if not _PORT.fullmatch(str(port)):
                raise InvalidInputError(f"groups.{mac}", "must name interfaces")
        groups[str(mac)] = frozenset(str(port) for port in ports)
    driver = spec.get("driver", "")
    if driver not in ("", *DRIVERS):
        raise InvalidInputError("driver", f"must be one of {', '.join(DRIVERS)}")
    connection = spec.get("connection", "")
    if connection != "":
        check_connection(connection)
    elif driver == OpenFlow.name:
        raise InvalidInputError("connection", "must be given for the driver openflow")
    return SwitchSpec(groups, driver, connection)


class Switch:
    """The role; see nfvportal.agent.role.Role."""

    def __init__(self, context: RoleContext) -> None:
        self._context = context
        self._driver: SwitchDriver | None = None
        self._probed: dict[str, str] = {}
        self._spec = SwitchSpec({})

    async def apply(self, spec: Mapping[str, Any]) -> None:
        """Make the switch hold exactly these groups.

        Raises:
            InvalidInputError: a field breaks its limit, or the switch refused a group.
        """
        wanted = parse_switch_spec(spec)
        asked = (wanted.driver, wanted.connection)
        if self._driver is None or asked != (self._spec.driver, self._spec.connection):
            self._driver, self._probed = await choose_driver(*asked)
        await self._driver.apply(wanted.groups)
        self._spec = wanted
        self._context.emit("chains.switch.state", self.snapshot())

    def snapshot(self) -> Mapping[str, object]:
        """Return the back end in use, what each back end's probe said, and the groups."""
        return {
            "driver": self._driver.name if self._driver is not None else "",
            "probed": self._probed,
            "groups": {mac: sorted(ports) for mac, ports in self._spec.groups.items()},
        }

    async def close(self) -> None:
        """Leave the groups in place: the fabric goes on without us."""
