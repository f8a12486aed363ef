"""Routes, rules, nexthops and counters by raw netlink: packed ahead, sent in one system call, no subprocess.

Only IPv4, and only what the roles need. Messages are plain bytes: a caller may keep them and send them again.
Source: rtnetlink(7), linux/rtnetlink.h, linux/nexthop.h, linux/fib_rules.h.
"""

import errno
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Final

NLM_REQUEST: Final = 0x1
NLM_ACK: Final = 0x4
NLM_REPLACE: Final = 0x100
NLM_DUMP: Final = 0x300
NLM_CREATE: Final = 0x400
NLMSG_ERROR: Final = 2
NLMSG_DONE: Final = 3

RTM_NEWLINK, RTM_GETLINK = 16, 18
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTM_NEWRULE, RTM_DELRULE, RTM_GETRULE = 32, 33, 34
RTM_NEWNEXTHOP, RTM_DELNEXTHOP, RTM_GETNEXTHOP = 104, 105, 106

RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_PRIORITY, RTA_TABLE, RTA_NH_ID = 1, 4, 5, 6, 15, 30
IFA_ADDRESS, IFA_LOCAL, IFA_PROTO = 1, 2, 11
NHA_ID, NHA_OIF, NHA_GATEWAY = 1, 5, 6
FRA_SRC, FRA_PRIORITY, FRA_TABLE, FRA_PROTOCOL = 2, 6, 15, 21
IFLA_IFNAME, IFLA_STATS64 = 3, 23

TABLE_MAIN: Final = 254
ACTION_TO_TABLE: Final = 1
RECEIVE_BYTES: Final = 1 << 18
BATCH_COUNT: Final = 64
_HEADER: Final = struct.Struct("=IHHII")
_ROUTE: Final = struct.Struct("=BBBBBBBBI")
_NEXTHOP: Final = struct.Struct("=BBBBI")
_ADDRESS: Final = struct.Struct("=BBBBI")
_ATTRIBUTE: Final = struct.Struct("=HH")


@dataclass(frozen=True, slots=True, order=True)
class Nexthop:
    """A kernel nexthop object: ``id`` sends to ``gateway`` out of interface number ``oif``."""

    id: int
    gateway: str
    oif: int
    protocol: int


@dataclass(frozen=True, slots=True, order=True)
class Route:
    """A route of one table to a prefix by a nexthop object."""

    prefix: str
    table: int
    nexthop_id: int
    protocol: int


@dataclass(frozen=True, slots=True, order=True)
class Rule:
    """``from prefix lookup table`` at a priority."""

    source: str
    table: int
    priority: int
    protocol: int


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """An address like ``10.1.1.10/24`` of interface number ``oif``."""

    address: str
    oif: int
    protocol: int


@dataclass(frozen=True, slots=True)
class InterfaceCounters:
    """Bytes that an interface carried since it exists."""

    rx_bytes: int
    tx_bytes: int


class NetlinkError(OSError):
    """The kernel refused a message; ``errno`` says why."""


def pack_attribute(kind: int, value: bytes) -> bytes:
    """Return one attribute, padded."""
    padding = -len(value) % 4
    return _ATTRIBUTE.pack(4 + len(value), kind) + value + b"\0" * padding


def _u32(kind: int, value: int) -> bytes:
    return pack_attribute(kind, struct.pack("=I", value))


def pack_message(kind: int, flags: int, payload: bytes) -> bytes:
    """Return one request."""
    return _HEADER.pack(_HEADER.size + len(payload), kind, NLM_REQUEST | flags, 0, 0) + payload


def pack_nexthop_replace(nexthop: Nexthop) -> bytes:
    """Return the message that creates or redirects a nexthop object."""
    payload = _NEXTHOP.pack(socket.AF_INET, 0, nexthop.protocol, 0, 0)
    payload += _u32(NHA_ID, nexthop.id) + _u32(NHA_OIF, nexthop.oif)
    payload += pack_attribute(NHA_GATEWAY, IPv4Address(nexthop.gateway).packed)
    return pack_message(RTM_NEWNEXTHOP, NLM_ACK | NLM_CREATE | NLM_REPLACE, payload)


def pack_nexthop_delete(nexthop_id: int) -> bytes:
    """Return the message that removes a nexthop object, and the routes over it."""
    return pack_message(RTM_DELNEXTHOP, NLM_ACK, _NEXTHOP.pack(0, 0, 0, 0, 0) + _u32(NHA_ID, nexthop_id))


def pack_route_replace(route: Route) -> bytes:
    """Return the message that creates a route or sets it right."""
    return pack_message(
        RTM_NEWROUTE,
        NLM_ACK | NLM_CREATE | NLM_REPLACE,
        _route_payload(route) + _u32(RTA_NH_ID, route.nexthop_id),
    )


def pack_route_delete(route: Route) -> bytes:
    """Return the message that removes a route."""
    return pack_message(RTM_DELROUTE, NLM_ACK, _route_payload(route))


def _route_payload(route: Route) -> bytes:
    network = IPv4Network(route.prefix)
    table = route.table if route.table < 256 else 0
    header = _ROUTE.pack(socket.AF_INET, network.prefixlen, 0, 0, table, route.protocol, 0, 1, 0)
    return header + pack_attribute(RTA_DST, network.network_address.packed) + _u32(RTA_TABLE, route.table)


def pack_default_route_replace(gateway: str, oif: int, table: int, protocol: int) -> bytes:
    """Return the message that sets the default route of a table, without a nexthop object."""
    header = _ROUTE.pack(socket.AF_INET, 0, 0, 0, 0, protocol, 0, 1, 0)
    body = (
        pack_attribute(RTA_GATEWAY, IPv4Address(gateway).packed) + _u32(RTA_OIF, oif) + _u32(RTA_TABLE, table)
    )
    return pack_message(RTM_NEWROUTE, NLM_ACK | NLM_CREATE | NLM_REPLACE, header + body)


def pack_address_add(address: Address) -> bytes:
    """Return the message that adds an address; adding it again is refused with EEXIST."""
    payload = _address_payload(address) + pack_attribute(IFA_PROTO, bytes([address.protocol]))
    return pack_message(RTM_NEWADDR, NLM_ACK | NLM_CREATE | 0x200, payload)


def pack_address_delete(address: Address) -> bytes:
    """Return the message that removes an address, and what hangs on it."""
    return pack_message(RTM_DELADDR, NLM_ACK, _address_payload(address))


def _address_payload(address: Address) -> bytes:
    interface = IPv4Interface(address.address)
    header = _ADDRESS.pack(socket.AF_INET, interface.network.prefixlen, 0, 0, address.oif)
    packed = interface.ip.packed
    return header + pack_attribute(IFA_LOCAL, packed) + pack_attribute(IFA_ADDRESS, packed)


def pack_rule_add(rule: Rule) -> bytes:
    """Return the message that adds a rule; adding it again is refused with EEXIST."""
    # Without NLM_F_EXCL the kernel would happily hold the same rule twice.
    return pack_message(RTM_NEWRULE, NLM_ACK | NLM_CREATE | 0x200, _rule_payload(rule))


def pack_rule_delete(rule: Rule) -> bytes:
    """Return the message that removes a rule."""
    return pack_message(RTM_DELRULE, NLM_ACK, _rule_payload(rule))


def _rule_payload(rule: Rule) -> bytes:
    network = IPv4Network(rule.source)
    header = _ROUTE.pack(socket.AF_INET, 0, network.prefixlen, 0, 0, 0, 0, ACTION_TO_TABLE, 0)
    return (
        header
        + pack_attribute(FRA_SRC, network.network_address.packed)
        + _u32(FRA_PRIORITY, rule.priority)
        + _u32(FRA_TABLE, rule.table)
        + pack_attribute(FRA_PROTOCOL, bytes([rule.protocol]))
    )


class Netlink:
    """One rtnetlink socket. Not thread-safe: each thread has its own.

    ``send`` takes any number of packed messages, ``BATCH_COUNT`` in one system call: the kernel answers all of a call
    before it returns, and the answers must fit into the socket's buffer.
    """

    def __init__(self) -> None:
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE
        )
        self._socket.bind((0, 0))
        self._socket.settimeout(5.0)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def send(self, messages: Sequence[bytes]) -> list[int]:
        """Send messages and return the kernel's answer to each: 0, or the errno.

        The kernel works through them in order, each on its own: one that fails does not stop the next.
        """
        answers: list[int] = []
        for first in range(0, len(messages), BATCH_COUNT):
            batch = messages[first : first + BATCH_COUNT]
            self._socket.send(b"".join(batch))
            while len(answers) < first + len(batch):
                for kind, _, payload in iter_messages(self._socket.recv(RECEIVE_BYTES)):
                    if kind == NLMSG_ERROR:
                        answers.append(-struct.unpack_from("=i", payload)[0])
        return answers

    def send_all(self, messages: Sequence[bytes], *, ignore: frozenset[int] = frozenset()) -> None:
        """Send messages, all of which must succeed or fail with an errno in ``ignore``.

        Raises:
            NetlinkError: the first refusal.
        """
        for code in self.send(messages):
            if code and code not in ignore:
                raise NetlinkError(code, os.strerror(code))

    def nexthops(self, protocol: int) -> list[Nexthop]:
        """Return the IPv4 nexthop objects of a protocol number."""
        found = []
        for payload in self._dump(RTM_GETNEXTHOP, RTM_NEWNEXTHOP, _NEXTHOP.pack(socket.AF_INET, 0, 0, 0, 0)):
            attributes = dict(iter_attributes(payload[_NEXTHOP.size :]))
            owner = payload[2]
            if owner == protocol and NHA_GATEWAY in attributes and NHA_OIF in attributes:
                gateway = str(IPv4Address(attributes[NHA_GATEWAY]))
                found.append(Nexthop(_int(attributes[NHA_ID]), gateway, _int(attributes[NHA_OIF]), owner))
        return found

    def routes(self, protocol: int) -> list[Route]:
        """Return the IPv4 routes of a protocol number, of all tables; ``nexthop_id`` 0 for those without an object."""
        found = []
        for payload in self._dump(
            RTM_GETROUTE, RTM_NEWROUTE, _ROUTE.pack(socket.AF_INET, 0, 0, 0, 0, 0, 0, 0, 0)
        ):
            _, length, _, _, table, owner, _, _, _ = _ROUTE.unpack_from(payload)
            if owner != protocol:
                continue
            attributes = dict(iter_attributes(payload[_ROUTE.size :]))
            address = IPv4Address(attributes.get(RTA_DST, b"\0\0\0\0"))
            table = _int(attributes[RTA_TABLE]) if RTA_TABLE in attributes else table
            nexthop = _int(attributes[RTA_NH_ID]) if RTA_NH_ID in attributes else 0
            found.append(Route(f"{address}/{length}", table, nexthop, owner))
        return found

    def rules(self, protocol: int) -> list[Rule]:
        """Return the IPv4 source rules of a protocol number."""
        found = []
        for payload in self._dump(
            RTM_GETRULE, RTM_NEWRULE, _ROUTE.pack(socket.AF_INET, 0, 0, 0, 0, 0, 0, 0, 0)
        ):
            attributes = dict(iter_attributes(payload[_ROUTE.size :]))
            owner = attributes.get(FRA_PROTOCOL, b"\0")[0]
            if owner != protocol or FRA_SRC not in attributes:
                continue
            source = f"{IPv4Address(attributes[FRA_SRC])}/{payload[2]}"
            table = _int(attributes[FRA_TABLE]) if FRA_TABLE in attributes else payload[4]
            found.append(Rule(source, table, _int(attributes.get(FRA_PRIORITY, bytes(4))), owner))
        return found

    def addresses(self, protocol: int) -> list[Address]:
        """Return the IPv4 addresses of a protocol number; kernels before 5.18 do not know whose an address is."""
        found = []
        for payload in self._dump(RTM_GETADDR, RTM_NEWADDR, _ADDRESS.pack(socket.AF_INET, 0, 0, 0, 0)):
            _, length, _, _, number = _ADDRESS.unpack_from(payload)
            attributes = dict(iter_attributes(payload[_ADDRESS.size :]))
            owner = attributes.get(IFA_PROTO, b"\0")[0]
            if owner == protocol and IFA_LOCAL in attributes:
                found.append(Address(f"{IPv4Address(attributes[IFA_LOCAL])}/{length}", number, owner))
        return found

    def counters(self) -> dict[str, InterfaceCounters]:
        """Return the byte counters of every interface."""
        found = {}
        for payload in self._dump(RTM_GETLINK, RTM_NEWLINK, struct.pack("=BBHiII", 0, 0, 0, 0, 0, 0)):
            attributes = dict(iter_attributes(payload[16:]))
            if IFLA_IFNAME in attributes and IFLA_STATS64 in attributes:
                name = attributes[IFLA_IFNAME].rstrip(b"\0").decode(errors="replace")
                _, _, rx_bytes, tx_bytes = struct.unpack_from("=QQQQ", attributes[IFLA_STATS64])
                found[name] = InterfaceCounters(rx_bytes, tx_bytes)
        return found

    def _dump(self, request: int, answer: int, payload: bytes) -> Iterator[bytes]:
        self._socket.send(pack_message(request, NLM_DUMP, payload))
        while True:
            for kind, _, body in iter_messages(self._socket.recv(RECEIVE_BYTES)):
                if kind == NLMSG_DONE:
                    return
                if kind == NLMSG_ERROR:
                    code = -struct.unpack_from("=i", body)[0]
                    raise NetlinkError(code, os.strerror(code))
                if kind == answer:
                    yield body


def iter_messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield (type, flags, payload) of each message; stops at the first that is malformed."""
    offset = 0
    while offset + _HEADER.size <= len(data):
        length, kind, flags, _, _ = _HEADER.unpack_from(data, offset)
        if length < _HEADER.size or offset + length > len(data):
            return
        yield kind, flags, data[offset + _HEADER.size : offset + length]
        offset += length + (-length % 4)


def iter_attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (type, value) of each attribute; stops at the first that is malformed."""
    offset = 0
    while offset + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < _ATTRIBUTE.size or offset + length > len(data):
            return
        yield kind & 0x3FFF, data[offset + _ATTRIBUTE.size : offset + length]
        offset += length + (-length % 4)


def _int(value: bytes) -> int:
    return int.from_bytes(value[:4], "little" if struct.pack("=H", 1)[0] else "big")


GONE: Final = frozenset({errno.ENOENT, errno.ESRCH})
"""What the kernel answers when something to delete is not there (any more)."""

EXISTS: Final = frozenset({errno.EEXIST})
"""What the kernel answers when something to add is there already."""
