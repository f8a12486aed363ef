"""Role ``chains.switch``: makes the fabric copy the frames of parallel blocks, with what this device's kernel has.

Spec: ``{"groups": {"03:00:00:07:01:02": ["to-server-1", "to-server-2"]}}``: group address -> ports.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from apps.chains.agent.switch_drivers import SwitchDriver, choose_driver
from nfvportal.agent.role import RoleContext
from nfvportal.lib.errors import InvalidInputError

GROUPS_MAX: Final = 1024
PORTS_MAX: Final = 64
_GROUP_MAC = re.compile(r"[0-9a-f][13579bdf](:[0-9a-f]{2}){5}")
_PORT = re.compile(r"[A-Za-z0-9_.-]{1,15}")
Groups = dict[str, frozenset[str]]


def parse_switch_spec(spec: Mapping[str, Any]) -> Groups:
    """Return group address -> ports.

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
    return groups


class Switch:
    """The role; see nfvportal.agent.role.Role."""

    def __init__(self, context: RoleContext) -> None:
        self._context = context
        self._driver: SwitchDriver | None = None
        self._groups: Groups = {}

    async def apply(self, spec: Mapping[str, Any]) -> None:
        """Make the switch hold exactly these groups.

        Raises:
            InvalidInputError: a field breaks its limit, or the switch refused a group.
        """
        wanted = parse_switch_spec(spec)
        if self._driver is None:
            self._driver = await choose_driver()
        await self._driver.apply(wanted)
        self._groups = wanted
        self._context.emit("chains.switch.state", self.snapshot())

    def snapshot(self) -> Mapping[str, object]:
        """Return the back end in use, why others are not, and the groups."""
        driver = self._driver
        return {
            "driver": driver.name if driver is not None else "",
            "probed": driver.probed if driver is not None else {},
            "groups": {mac: sorted(ports) for mac, ports in self._groups.items()},
        }

    async def close(self) -> None:
        """Leave the groups in place: the fabric goes on without us."""
