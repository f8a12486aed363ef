"""Which frames the fabric copies by itself: where a mirror sends to several servers, one frame to a group is enough.

A group has an address of its own per path, epoch and mirror. A switch that knows the group copies the frame to its
members; one that does not floods it, and whoever has no branch of that mirror ignores it. So groups are always right,
and programming the switch only saves copies.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from apps.chains.engine.operators import OperatorKind, OperatorTable
from nfvportal.lib.errors import InvalidInputError

# A group address (lowest bit) of local meaning (next bit).
_GROUP_BYTE: Final = 0x03
OWN_PREFIX: Final = "03:"
# The last address there is: what a switch is asked to hold for a moment, to see whether it can.
PROBE_GROUP: Final = "03:ff:ff:ff:ff:ff"


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


def port_copies(
    groups: Mapping[str, Collection[str]], ports: Sequence[str]
) -> dict[tuple[str, str], tuple[str, ...]]:
    """Return (port, group) -> ports that get a frame to the group when it enters by that port: never the same one.

    For switches that decide port by port. An empty tuple says that the frame goes nowhere.

    Raises:
        InvalidInputError: a member is not among the ports.

    >>> port_copies({"03:00:00:07:02:02": ["p2", "p3"]}, ["p1", "p2"])
    Traceback (most recent call last):
    nfvportal.lib.errors.InvalidInputError: groups.03:00:00:07:02:02: must name ports of the switch, not port p3
    >>> port_copies({"03:00:00:07:02:02": ["p2"]}, ["p1", "p2"])
    {('p1', '03:00:00:07:02:02'): ('p2',), ('p2', '03:00:00:07:02:02'): ()}

    Complexity: groups x ports x members.
    """
    for group, members in groups.items():
        if unknown := sorted(set(members) - set(ports)):
            raise InvalidInputError(
                f"groups.{group}", f"must name ports of the switch, not port {unknown[0]}"
            )
    return {
        (port, group): tuple(member for member in sorted(members) if member != port)
        for group, members in groups.items()
        for port in ports
    }
