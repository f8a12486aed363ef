"""Groups of the fabric as OpenFlow 1.3 entries: what a switch holds against what it shall hold, as messages in order.

A group address becomes a group of type ``all`` with a bucket per member, and a flow entry that sends frames to the
address there. A switch never sends a frame back out of the port it came in by (section 5.6.1 of the specification), so
a member that sends gets nothing. Our entries are known by their cookie: a prefix of ours, then the address.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Final

from apps.chains.engine.openflow import (
    FLOW_ADD,
    FLOW_DELETE_STRICT,
    FlowEntry,
    FlowMod,
    GroupCommand,
    GroupEntry,
    GroupMod,
    GroupType,
)
from apps.chains.engine.openflow_structs import Actions, Bucket, Output, Port, ToGroup, eth_dst
from nfvportal.lib.errors import InvalidInputError

COOKIE_PREFIX: Final = 0x4E46 << 48
COOKIE_MASK: Final = 0xFFFF << 48
GROUP_FIRST: Final = 0x4E46_0000
GROUP_END: Final = 0x4E47_0000
PRIORITY: Final = 40_000
ERROR_TYPES: Final = {
    0: "HELLO_FAILED",
    1: "BAD_REQUEST",
    2: "BAD_ACTION",
    3: "BAD_INSTRUCTION",
    4: "BAD_MATCH",
    5: "FLOW_MOD_FAILED",
    6: "GROUP_MOD_FAILED",
    13: "METER_MOD_FAILED",
}
_GROUP_ERRORS: Final = (
    "GROUP_EXISTS",
    "INVALID_GROUP",
    "WEIGHT_UNSUPPORTED",
    "OUT_OF_GROUPS",
    "OUT_OF_BUCKETS",
    "CHAINING_UNSUPPORTED",
    "WATCH_UNSUPPORTED",
    "LOOP",
    "UNKNOWN_GROUP",
    "CHAINED_GROUP",
    "BAD_TYPE",
    "BAD_COMMAND",
    "BAD_BUCKET",
    "BAD_WATCH",
    "EPERM",
)
_FLOW_ERRORS: Final = (
    "UNKNOWN",
    "TABLE_FULL",
    "BAD_TABLE_ID",
    "OVERLAP",
    "EPERM",
    "BAD_TIMEOUT",
    "BAD_COMMAND",
)


@dataclass(frozen=True, slots=True)
class Change:
    """One message, and the group address for whose sake it is sent."""

    mac: str
    message: GroupMod | FlowMod


def error_words(kind: int, code: int) -> str:
    """Return what the switch says, in the specification's words (7.4.4).

    >>> error_words(6, 3)
    'GROUP_MOD_FAILED OUT_OF_GROUPS'
    >>> error_words(77, 3)
    'error of type 77 code 3'
    """
    if kind not in ERROR_TYPES:
        return f"error of type {kind} code {code}"
    codes = {5: _FLOW_ERRORS, 6: _GROUP_ERRORS}.get(kind, ())
    return f"{ERROR_TYPES[kind]} {codes[code] if code < len(codes) else f'code {code}'}"


def cookie_of(mac: str) -> int:
    """Return the cookie of a group address's flow entry.

    >>> hex(cookie_of("03:00:00:07:01:02"))
    '0x4e46030000070102'
    """
    return COOKIE_PREFIX | int(mac.replace(":", ""), 16)


def mac_of(cookie: int) -> str:
    """Return the group address of a cookie of ours."""
    return (cookie & ~COOKIE_MASK).to_bytes(6).hex(":")


def steering_changes(
    wanted: Mapping[str, Collection[str]],
    flows: Iterable[FlowEntry],
    groups: Iterable[GroupEntry],
    ports: Iterable[Port],
) -> list[Change]:
    """Return the messages that make a switch hold exactly these groups; none when it does.

    What is added comes before what is removed. A group whose members change is modified in place, so no frame is lost.

    Args:
        wanted: group address -> names of ports.
        flows: the flow entries with a cookie of ours.
        groups: all groups of the switch; those outside our range of numbers are not touched.
        ports: the switch's ports.

    Raises:
        InvalidInputError: a port is not there, or our range of group numbers is full.

    Complexity: groups x members.
    """
    numbers = {port.name: port.number for port in ports}
    members = {mac: _numbers(mac, names, numbers) for mac, names in wanted.items()}
    held = {one.group: one for one in groups if GROUP_FIRST <= one.group < GROUP_END}
    entries = list(flows)
    kept = {mac_of(flow.cookie): flow for flow in entries if _is_right(flow, held)}
    free = (number for number in count(GROUP_FIRST) if number not in held)
    added: list[Change] = []
    used: set[int] = set()
    for mac, targets in members.items():
        flow = kept.get(mac)
        number = None if flow is None else _group_of(flow)
        if number is None or number in used:
            number = next(free)
            kept.pop(mac, None)
        if number >= GROUP_END:
            raise InvalidInputError("groups", "fill all group numbers that are ours on this switch")
        used.add(number)
        added += _group_changes(mac, number, held.get(number), targets)
        if mac not in kept:
            added.append(Change(mac, flow_add(mac, number)))
    return [*added, *_removals(entries, kept, members, held, used)]


def _numbers(mac: str, names: Collection[str], numbers: Mapping[str, int]) -> tuple[int, ...]:
    for name in sorted(names):
        if name not in numbers:
            raise InvalidInputError(f"groups.{mac}", f"must name ports of the switch, not port {name}")
    return tuple(sorted(numbers[name] for name in names))


def _is_right(flow: FlowEntry, held: Mapping[int, GroupEntry]) -> bool:
    """Whether a flow entry is just as we would make it, to a group of ours."""
    number = _group_of(flow)
    if number is None or number not in held:
        return False
    made = flow_add(mac_of(flow.cookie), number)
    return (flow.table, flow.priority, flow.match, flow.instructions) == (
        made.table,
        made.priority,
        made.match,
        made.instructions,
    )


def _group_of(flow: FlowEntry) -> int | None:
    for instruction in flow.instructions:
        if isinstance(instruction, Actions):
            for action in instruction.actions:
                if isinstance(action, ToGroup):
                    return action.group
    return None


def _group_changes(
    mac: str, number: int, held: GroupEntry | None, targets: tuple[int, ...]
) -> Iterator[Change]:
    buckets = tuple(Bucket((Output(port),)) for port in targets)
    if held is None:
        yield Change(mac, GroupMod(GroupCommand.ADD, number, GroupType.ALL, buckets))
    elif held.type != GroupType.ALL or targets != outputs(held):
        yield Change(mac, GroupMod(GroupCommand.MODIFY, number, GroupType.ALL, buckets))


def outputs(group: GroupEntry) -> tuple[int, ...] | None:
    """Return the ports of a group's buckets, sorted; ``None`` when a bucket does anything but send to one port."""
    found = []
    for bucket in group.buckets:
        if len(bucket.actions) != 1 or not isinstance(bucket.actions[0], Output):
            return None
        found.append(bucket.actions[0].port)
    return tuple(sorted(found))


def steering_held(
    flows: Iterable[FlowEntry], groups: Iterable[GroupEntry], ports: Iterable[Port]
) -> dict[str, frozenset[str]]:
    """Return group address -> names of ports, of the flow entries that are as we make them."""
    names = {port.number: port.name for port in ports}
    held = {one.group: one for one in groups if GROUP_FIRST <= one.group < GROUP_END}
    return {
        mac_of(flow.cookie): frozenset(
            names.get(port, str(port)) for port in outputs(held[_group_of(flow) or 0]) or ()
        )
        for flow in flows
        if _is_right(flow, held)
    }


def flow_add(mac: str, group: int) -> FlowMod:
    """Return the message that sends frames to an address to a group."""
    to_group = (Actions((ToGroup(group),)),)
    return FlowMod(FLOW_ADD, (eth_dst(mac),), to_group, cookie=cookie_of(mac), priority=PRIORITY)


def _removals(
    entries: Iterable[FlowEntry],
    kept: Mapping[str, FlowEntry],
    members: Mapping[str, object],
    held: Mapping[int, GroupEntry],
    used: set[int],
) -> Iterator[Change]:
    for flow in entries:
        mac = mac_of(flow.cookie)
        # Adding an entry with the same match and priority replaces what is there.
        is_replaced = (flow.table, flow.priority, flow.match) == (0, PRIORITY, (eth_dst(mac),))
        if mac not in members or (kept.get(mac) is not flow and not is_replaced):
            yield Change(
                mac,
                FlowMod(
                    FLOW_DELETE_STRICT,
                    flow.match,
                    cookie=flow.cookie,
                    cookie_mask=0xFFFF_FFFF_FFFF_FFFF,
                    table=flow.table,
                    priority=flow.priority,
                ),
            )
    for number in sorted(held.keys() - used):
        yield Change("", GroupMod(GroupCommand.DELETE, number))
