"""Which frames the fabric copies by itself: where a mirror sends to several servers, one frame to a group is enough.

A group has an address of its own per path, epoch and mirror. A switch that knows the group copies the frame to its
members; one that does not floods it, and whoever has no branch of that mirror ignores it. So groups are always right,
and programming the switch only saves copies.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from apps.chains.engine.operators import OperatorKind, OperatorTable

# A group address (lowest bit) of local meaning (next bit).
_GROUP_BYTE: Final = 0x03


@dataclass(frozen=True, slots=True)
class Group:
    """One mirror's servers. ``mac``: group address; ``members``: names in the operator table, at least two."""

    operator: int
    mac: str
    members: tuple[str, ...]


def group_mac(path: int, epoch: int, operator: int) -> str:
    """Return the group address of a mirror; epochs of a path differ as long as 256 of them are not in use at once.

    >>> group_mac(7, 258, 2)
    '03:00:00:07:02:02'
    """
    return bytes((_GROUP_BYTE, *path.to_bytes(3), epoch & 0xFF, operator)).hex(":")


def groups_of(table: OperatorTable, path: int, epoch: int) -> Iterator[Group]:
    """Yield a group for every mirror that sends to at least two other servers."""
    for operator in table.operators:
        if operator.kind is OperatorKind.MIRROR:
            places = [table.by_id[hop.operator].server for hop in operator.next]
            members = tuple(dict.fromkeys(place for place in places if place != operator.server))
            if len(members) > 1:
                yield Group(operator.id, group_mac(path, epoch, operator.id), members)


def switch_groups(groups: Iterable[Group], ports: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Return group address -> ports, as a switch is told; a group with a member of unknown port is flooded instead."""
    return {
        group.mac: tuple(ports[member] for member in group.members)
        for group in groups
        if all(member in ports for member in group.members)
    }
