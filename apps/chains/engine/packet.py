"""Packets as network functions see them: fields of a frame, read and written in place, checksums kept right.

A frame is Ethernet, up to two VLAN tags, IPv4 or IPv6 with options, extension headers and authentication headers (AH),
then TCP, UDP, ICMP or anything. What cannot be parsed is marked, never raised: ``ip_version`` 0 for "not IP or broken",
``l4`` 0 for "no header of a known transport protocol" (other protocols, later fragments). Where that header or an
extension header is cut or impossible, ``is_broken`` says so and nothing counts as payload: a network function that
rewrites payloads could otherwise make a header of it. A field that a packet does not have reads as ``None``; writing it
does nothing.

A header-only copy ends where the payload begins and parses exactly as the whole packet: every decision above looks
only at bytes before the payload (of broken packets, all is copied). Its lengths still speak of the original, so
checksums are changed, never computed anew.

Deviation: the payload of later fragments is not covered by any checksum we can reach, so writing it leaves the
checksum in the first fragment as it was. IPv4 source routes are not followed for the pseudo header.
"""

import struct
from typing import Any, Final, cast

from apps.chains.engine.checksum import MODULUS, word_sum
from apps.chains.engine.fields import Field
from apps.chains.engine.packet_fields import GETTERS, SETTERS, Value
from apps.chains.engine.protocols import AH, ICMP, ICMPV6, TCP, UDP

_FRAGMENT: Final = 44
_ROUTING: Final = 43
_EXTENSIONS: Final = frozenset({0, _ROUTING, _FRAGMENT, AH, 60, 135, 139, 140})
_TAG_TYPES: Final = frozenset({0x8100, 0x88A8})
_ONLY_AH: Final = frozenset({AH})
# Protocols with a header of eight bytes.
_SHORT: Final = {4: frozenset({UDP, ICMP}), 6: frozenset({UDP, ICMPV6})}
_WITH_PORTS: Final = frozenset({TCP, UDP})


class Packet:
    """One frame and where its parts are.

    Attributes:
        data: the frame; owned by the packet, changed in place.
        is_header_only: whether the payload was left out.
        vlan: offset of the outer tag's control information, 0 without a tag.
        l3: offset of the IP header; ``ip_version``: 4, 6, or 0 when there is none that can be trusted.
        proto: protocol above IP and its extension headers, -1 without IP.
        l4: offset of the TCP, UDP or ICMP header, 0 when there is none.
        l4_sum: offset of its checksum, 0 when there is none (UDP without checksum, too).
        payload, end: where the payload begins and ends; bytes after ``end`` are padding of the link.
        is_broken: whether IP's header is fine and a later one is not.
        is_fragment: whether it is a fragment, the first included.
        is_later_fragment: whether it is a fragment without the transport header.
        is_dst_summed: whether the transport checksum covers the destination in the IP header (not under a routing
            header with segments left).
    """

    __slots__ = (
        "data",
        "end",
        "ip_version",
        "is_broken",
        "is_dst_summed",
        "is_fragment",
        "is_header_only",
        "is_later_fragment",
        "l3",
        "l4",
        "l4_sum",
        "payload",
        "proto",
        "vlan",
    )

    def __init__(self, data: bytearray, is_header_only: bool = False) -> None:
        self.data = data
        self.is_header_only = is_header_only
        self.reparse()

    def reparse(self) -> None:
        data = self.data
        self.vlan = self.l4 = self.l4_sum = self.ip_version = 0
        self.proto = -1
        self.is_fragment = self.is_later_fragment = self.is_broken = False
        self.is_dst_summed = True
        size = self.payload = self.end = len(data)
        at = 14
        self.l3 = at
        if size < 34:
            return
        kind = data[12] << 8 | data[13]
        if kind in _TAG_TYPES:
            self.vlan = 14
            while kind in _TAG_TYPES and at <= 18 and size >= at + 4:
                kind = data[at + 2] << 8 | data[at + 3]
                at += 4
            self.l3 = at
        if kind == 0x0800:
            self._parse_ipv4(at, size)
        elif kind == 0x86DD:
            self._parse_ipv6(at, size)

    def _parse_ipv4(self, l3: int, size: int) -> None:
        data = self.data
        if size < l3 + 20 or data[l3] >> 4 != 4:
            return
        header = (data[l3] & 15) * 4
        total = data[l3 + 2] << 8 | data[l3 + 3]
        if header < 20 or total < header or size < l3 + header:
            return
        self.ip_version = 4
        end = self.end = min(size, l3 + total)
        if data[l3 + 10] == 0xFF and data[l3 + 11] == 0xFF:
            data[l3 + 10] = data[l3 + 11] = 0
        fragment = (data[l3 + 6] & 0x3F) << 8 | data[l3 + 7]
        if fragment:
            self.is_fragment = True
            self.is_later_fragment = bool(fragment & 0x1FFF)
        proto = data[l3 + 9]
        at = l3 + header
        if proto == AH:
            self._parse_extensions(at, AH)
        else:
            self._parse_transport(at, proto, end)

    def _parse_ipv6(self, l3: int, size: int) -> None:
        data = self.data
        if size < l3 + 40 or data[l3] >> 4 != 6:
            return
        self.ip_version = 6
        end = self.end = min(size, l3 + 40 + (data[l3 + 4] << 8 | data[l3 + 5]))
        proto = data[l3 + 6]
        if proto in _EXTENSIONS:
            self._parse_extensions(l3 + 40, proto)
        else:
            self._parse_transport(l3 + 40, proto, end)

    def _parse_extensions(self, at: int, proto: int) -> None:
        data, end = self.data, self.end
        # Over IPv4 the numbers of the others mean something else, or nothing.
        extensions = _EXTENSIONS if self.ip_version == 6 else _ONLY_AH
        while proto in extensions:
            if end < at + 8:
                self._break(proto)
                return
            size = 8
            if proto == AH:
                size = (data[at + 1] + 2) * 4
            elif proto != _FRAGMENT:
                size = (data[at + 1] + 1) * 8
            if end < at + size:
                self._break(proto)
                return
            if proto == _ROUTING and data[at + 3]:
                self.is_dst_summed = False
            next_proto = data[at]
            at += size
            if proto == _FRAGMENT and self._is_later(data[at - 6] << 8 | data[at - 5]):
                # Only payload follows, whatever its first bytes look like.
                self.proto, self.payload = next_proto, at
                return
            proto = next_proto
        self._parse_transport(at, proto, end)

    def _is_later(self, word: int) -> bool:
        """Take in the offset and flag of an IPv6 fragment header."""
        if word & 0xFFF9:
            self.is_fragment = True
        self.is_later_fragment = word & 0xFFF8 > 0
        return self.is_later_fragment

    def _break(self, proto: int) -> None:
        self.proto = proto
        self.is_broken = True
        self.payload = self.end

    def _parse_transport(self, at: int, proto: int, end: int) -> None:
        data = self.data
        self.proto = proto
        self.payload = at
        if self.is_later_fragment:
            return
        if proto == TCP:
            header = (data[at + 12] >> 4) * 4 if end >= at + 20 else 0
            if header < 20 or end < at + header:
                self._break(proto)
                return
            self.l4 = at
            self.payload = at + header
            self._take_sum(at + 16)
        elif proto in _SHORT[self.ip_version]:
            if end < at + 8:
                self._break(proto)
                return
            self.l4 = at
            self.payload = at + 8
            if proto != UDP:
                self._take_sum(at + 2)
            elif data[at + 6] or data[at + 7]:
                self.l4_sum = at + 6

    def _take_sum(self, at: int) -> None:
        data = self.data
        self.l4_sum = at
        if data[at] == 0xFF and data[at + 1] == 0xFF:
            data[at] = data[at + 1] = 0

    @property
    def ip_bytes(self) -> int:
        """Length of the IP packet as its header says, the same in a header-only copy; else the frame's."""
        data, l3 = self.data, self.l3
        if self.ip_version == 4:
            return data[l3 + 2] << 8 | data[l3 + 3]
        if self.ip_version == 6:
            return 40 + (data[l3 + 4] << 8 | data[l3 + 5])
        return len(data)

    @property
    def has_ports(self) -> bool:
        """Whether there are ports to read: TCP or UDP, header present."""
        return self.l4 > 0 and self.proto in _WITH_PORTS

    def addresses(self) -> bytes:
        """Return source and destination address, 8 or 32 bytes; empty without IP."""
        at = self.l3
        if self.ip_version == 4:
            return bytes(self.data[at + 12 : at + 20])
        return bytes(self.data[at + 8 : at + 40]) if self.ip_version else b""

    def flow_key(self) -> bytes:
        """Return addresses, ports and protocol in this order; ports are 0 where there are none. Empty without IP."""
        data, at, l4 = self.data, self.l3, self.l4
        if self.ip_version == 4:
            addresses = data[at + 12 : at + 20]
        elif self.ip_version:
            addresses = data[at + 8 : at + 40]
        else:
            return b""
        proto = self.proto
        if l4 and proto in _WITH_PORTS:
            addresses += data[l4 : l4 + 4]
        else:
            addresses += b"\0\0\0\0"
        addresses.append(proto)
        return bytes(addresses)

    def get(self, field: Field) -> Value | None:
        """Return a field's value, ``None`` where the packet has none. Integers, except the payload's bytes."""
        return GETTERS[field](self)

    def set(self, field: Field, value: Value) -> None:
        """Write a field and mend the checksums it is part of; nothing where the packet has no such field.

        Args:
            value: as ``get`` returns it; what exceeds the field's width is cut off. Do not write ``IP_PROTO``
                where it changes what the bytes behind mean: that is a change of structure.
        """
        SETTERS[field](self, value)

    def read(self) -> None:
        """Make sure that the packet is parsed and its bytes its own; see ``UnreadPacket``."""
        self.ip_version  # noqa: B018  # asking is enough

    def copy(self) -> "Packet":
        """Return an independent copy. Complexity: linear in the frame, 0.6 us."""
        twin = Packet.__new__(Packet)
        twin.data = self.data[:]
        twin.is_header_only = self.is_header_only
        twin.vlan = self.vlan
        twin.l3 = self.l3
        twin.ip_version = self.ip_version
        twin.proto = self.proto
        twin.l4 = self.l4
        twin.l4_sum = self.l4_sum
        twin.payload = self.payload
        twin.end = self.end
        twin.is_broken = self.is_broken
        twin.is_fragment = self.is_fragment
        twin.is_later_fragment = self.is_later_fragment
        twin.is_dst_summed = self.is_dst_summed
        return twin

    def header_copy(self) -> "Packet":
        """Return an independent copy without payload; what is not IP, or broken, is copied whole."""
        has_payload = self.ip_version and not self.is_broken
        return Packet(self.data[: self.payload] if has_payload else self.data[:], True)

    def add_ah(self, spi: int, sequence: int, icv: bytes) -> bool:
        """Insert an authentication header behind the IP header (and hop-by-hop options); mend the lengths.

        Args:
            icv: 12 bytes, so that the header is 24 bytes long and keeps IPv6's alignment.

        Returns:
            ``False`` without IP, or where the packet would become too long: then nothing is changed.

        Deviation: RFC 4302 wants whole datagrams; here each fragment gets its own header, since the peer that
        removes it sees packets one by one as well.
        """
        at = self._ah_place()
        if at is None or len(icv) != 12 or self.ip_bytes + 24 > 0xFFFF + (40 if self.ip_version == 6 else 0):
            return False
        data, link = self.data, self._next_header_at(at)
        header = struct.pack("!BBHII", data[link], 4, 0, spi & 0xFFFFFFFF, sequence & 0xFFFFFFFF) + icv
        self.write_protocol(link, AH)
        data[at:at] = header
        self._change_length(24)
        self.reparse()
        return True

    def remove_ah(self) -> bytes | None:
        """Remove the authentication header that ``add_ah`` inserts; return its bytes, ``None`` where there is none."""
        at = self._ah_place()
        if at is None:
            return None
        data, link = self.data, self._next_header_at(at)
        size = (data[at + 1] + 2) * 4 if len(data) > at + 12 else 0
        if data[link] != AH or not size or self.end < at + size:
            return None
        header = bytes(data[at : at + size])
        self.write_protocol(link, header[0])
        del data[at : at + size]
        self._change_length(-size)
        self.reparse()
        return header

    def _ah_place(self) -> int | None:
        data, l3 = self.data, self.l3
        if self.ip_version == 4:
            return l3 + (data[l3] & 15) * 4
        if self.ip_version != 6:
            return None
        at = l3 + 40
        if data[l3 + 6] == 0 and self.end >= at + 8 and self.end >= at + (data[at + 1] + 1) * 8:
            at += (data[at + 1] + 1) * 8
        return at

    def _next_header_at(self, at: int) -> int:
        if self.ip_version == 4:
            return self.l3 + 9
        return self.l3 + 6 if at == self.l3 + 40 else self.l3 + 40

    def write_protocol(self, link: int, proto: int) -> None:
        if self.ip_version == 4:
            self.mend_ip(self.data[link], proto)
        self.data[link] = proto

    def _change_length(self, by: int) -> None:
        """Add to the IP length; its checksum follows."""
        data = self.data
        at = self.l3 + (2 if self.ip_version == 4 else 4)
        old = data[at] << 8 | data[at + 1]
        new = old + by
        data[at], data[at + 1] = new >> 8 & 0xFF, new & 0xFF
        if self.ip_version == 4:
            self.mend_ip(old, new)

    def mend_ip(self, old: int, new: int) -> None:
        """Account for changed words in the IPv4 header's checksum."""
        data, at = self.data, self.l3 + 10
        value = ((data[at] << 8 | data[at + 1]) + old - new) % MODULUS
        data[at] = value >> 8
        data[at + 1] = value & 0xFF

    def mend_l4(self, old: int, new: int) -> None:
        """Account for changed words in the transport checksum, where there is one."""
        at = self.l4_sum
        if at:
            data = self.data
            value = ((data[at] << 8 | data[at + 1]) + old - new) % MODULUS
            if not value and self.proto == UDP:
                value = MODULUS
            data[at] = value >> 8
            data[at + 1] = value & 0xFF

    def set_address(self, at4: int, at6: int, value: Value, is_summed: bool) -> None:
        assert isinstance(value, int)
        data = self.data
        if self.ip_version == 4:
            at, size = self.l3 + at4, 4
        elif self.ip_version == 6:
            at, size = self.l3 + at6, 16
        else:
            return
        new = value & ((1 << size * 8) - 1)
        old = int.from_bytes(data[at : at + size], "big")
        if new == old:
            return
        data[at : at + size] = new.to_bytes(size, "big")
        if size == 4:
            self.mend_ip(old, new)
        if is_summed and self.proto != (ICMP if size == 4 else -1):
            self.mend_l4(old, new)

    def set_payload(self, value: Value) -> None:
        assert isinstance(value, bytes)
        if self.ip_version == 0 or self.is_header_only or self.is_broken:
            return
        data, start, end = self.data, self.payload, self.end
        by = len(value) - (end - start)
        limit = 0xFFFF + (40 if self.ip_version == 6 else 0)
        if by and self.ip_bytes + by > limit:
            return
        if self.l4_sum:
            old, new = word_sum(data[start:end]), word_sum(value)
            if by and self.proto != ICMP:
                # The pseudo header holds the length, UDP's header holds it once more.
                new += by * (2 if self.proto == UDP else 1)
            self.mend_l4(old, new)
        data[start:end] = value
        if by:
            self.end += by
            self._change_length(by)
            if self.proto == UDP and self.l4:
                at = self.l4 + 4
                size = (data[at] << 8 | data[at + 1]) + by
                data[at], data[at + 1] = size >> 8 & 0xFF, size & 0xFF


class UnreadPacket(Packet):
    """A packet whose parts are looked up when one is first asked for.

    Until then ``data`` is what was given, neither copied nor to be changed; who wants to change it calls ``read``.
    """

    __slots__ = ()

    def __init__(self, data: bytes, is_header_only: bool = False) -> None:
        self.data = cast("bytearray", data)
        self.is_header_only = is_header_only

    def __getattr__(self, name: str) -> Any:
        """Parse: a slot is empty only before that."""
        if name not in Packet.__slots__:
            raise AttributeError(name)
        self.data = bytearray(self.data)
        self.reparse()
        return getattr(self, name)


def parse(data: bytes | bytearray, is_header_only: bool = False) -> Packet:
    """Return the packet of a frame; never raises. A ``bytearray`` is taken over, not copied.

    A checksum of 0xFFFF is written as its equal 0x0000 (UDP's excepted), see ``checksum``.
    Complexity: O(1), 1.5 us.
    """
    return Packet(data if isinstance(data, bytearray) else bytearray(data), is_header_only)
