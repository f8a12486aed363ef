"""Capture files around frames, built by ``struct`` alone from plain values."""

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address


@dataclass(frozen=True, slots=True)
class Seen:
    """A frame as captured: time in microseconds, link type, bytes, and how many were on the wire (None: all)."""

    at_us: int
    data: bytes
    link: int = 1
    wire: int | None = None

    @property
    def size(self) -> int:
        """Bytes on the wire."""
        return len(self.data) if self.wire is None else self.wire

    def cut(self, snaplen: int) -> "Seen":
        """Return it cut to so many bytes."""
        return Seen(self.at_us, self.data[:snaplen], self.link, self.size)


def pcap(
    seen: Iterable[Seen], order: str = "<", nano: bool = False, modified: bool = False, link: int = 1
) -> bytes:
    """Return a classic pcap file; all frames have one link type."""
    magic = 0xA1B2CD34 if modified else 0xA1B23C4D if nano else 0xA1B2C3D4
    parts = [struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, 262144, link)]
    for one in seen:
        seconds, micros = divmod(one.at_us, 1_000_000)
        fraction = micros * 1000 + 7 if nano and not modified else micros
        parts.append(struct.pack(f"{order}IIII", seconds, fraction, len(one.data), one.size))
        parts.append(bytes(8) if modified else b"")
        parts.append(one.data)
    return b"".join(parts)


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    """Return one block of pcapng."""
    body += bytes(-len(body) % 4)
    size = len(body) + 12
    return struct.pack(f"{order}II", kind, size) + body + struct.pack(f"{order}I", size)


def section(order: str = "<") -> bytes:
    """Return a section header block."""
    return block(0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def interface(
    link: int, order: str = "<", resolution: int | None = None, offset_s: int | None = None, snaplen: int = 0
) -> bytes:
    """Return an interface description block."""
    options = struct.pack(f"{order}HH4s", 1, 3, b"abc\0")
    if resolution is not None:
        options += struct.pack(f"{order}HHBxxx", 9, 1, resolution)
    if offset_s is not None:
        options += struct.pack(f"{order}HHq", 14, 8, offset_s)
    return block(1, struct.pack(f"{order}HHI", link, 0, snaplen) + options + bytes(4), order)


def enhanced(seen: Seen, index: int = 0, order: str = "<", ticks: int | None = None) -> bytes:
    """Return an enhanced packet block with an option behind the packet."""
    ticks = seen.at_us if ticks is None else ticks
    head = struct.pack(f"{order}IIIII", index, ticks >> 32, ticks & 0xFFFFFFFF, len(seen.data), seen.size)
    data = seen.data + bytes(-len(seen.data) % 4)
    return block(6, head + data + struct.pack(f"{order}HHIHH", 2, 4, 1, 0, 0), order)


def simple(seen: Seen, order: str = "<") -> bytes:
    """Return a simple packet block."""
    return block(3, struct.pack(f"{order}I", seen.size) + seen.data, order)


def packet(seen: Seen, index: int = 0, order: str = "<") -> bytes:
    """Return an obsolete packet block."""
    head = struct.pack(
        f"{order}HHIIII", index, 0, seen.at_us >> 32, seen.at_us & 0xFFFFFFFF, len(seen.data), seen.size
    )
    return block(2, head + seen.data, order)


def pcapng(seen: Iterable[Seen], order: str = "<") -> bytes:
    """Return a pcapng file with one section and an interface per link type."""
    frames = list(seen)
    links = list(dict.fromkeys(one.link for one in frames))
    return (
        section(order)
        + b"".join(interface(link, order) for link in links)
        + b"".join(enhanced(one, links.index(one.link), order) for one in frames)
    )


def sflow_raw_header(seen: Seen, protocol: int = 1) -> bytes:
    """Return a flow record with a raw packet header."""
    body = struct.pack(">IIII", protocol, seen.size, 4, len(seen.data)) + seen.data
    return xdr(1, body)


def xdr(kind: int, body: bytes) -> bytes:
    """Return a sample or record of sFlow: type, length, padded body."""
    body += bytes(-len(body) % 4)
    return struct.pack(">II", kind, len(body)) + body


def sflow_sample(
    records: Iterable[bytes], rate: int = 100, source: int = 3, drops: int = 0, is_expanded: bool = False
) -> bytes:
    """Return a flow sample."""
    listed = list(records)
    if is_expanded:
        head = struct.pack(">11I", 1, 0, source, rate, rate * 7, drops, 0, 5, 0, 6, len(listed))
    else:
        head = struct.pack(">8I", 1, source, rate, rate * 7, drops, 5, 6, len(listed))
    return xdr(3 if is_expanded else 1, head + b"".join(listed))


def sflow(samples: Iterable[bytes], agent: str = "192.0.2.7", version: int = 5) -> bytes:
    """Return an sFlow datagram."""
    listed = list(samples)
    packed = ip_address(agent).packed
    head = struct.pack(">II", version, 1 if len(packed) == 4 else 2) + packed
    return head + struct.pack(">IIII", 0, 1, 1000, len(listed)) + b"".join(listed)


def ipfix_set(number: int, body: bytes, pad: int = 0) -> bytes:
    """Return one set of an IPFIX message."""
    return struct.pack(">HH", number, 4 + len(body) + pad) + body + bytes(pad)


def ipfix_template(number: int, fields: Iterable[tuple[int, int]], scopes: int | None = None) -> bytes:
    """Return a template record of (element, length); elements from 32768 on get an enterprise number."""
    listed = list(fields)
    head = struct.pack(">HH", number, len(listed)) + (b"" if scopes is None else struct.pack(">H", scopes))
    return head + b"".join(
        struct.pack(">HH", element, size) + (b"\0\0\x12\x34" if element & 0x8000 else b"")
        for element, size in listed
    )


def ipfix_variable(data: bytes, is_long: bool = False) -> bytes:
    """Return a field of variable length."""
    if len(data) < 255 and not is_long:
        return bytes([len(data)]) + data
    return b"\xff" + struct.pack(">H", len(data)) + data


def ipfix(sets: Iterable[bytes], domain: int = 1, version: int = 10) -> bytes:
    """Return an IPFIX message."""
    body = b"".join(sets)
    return struct.pack(">HHIII", version, 16 + len(body), 1_700_000_000, 1, domain) + body
