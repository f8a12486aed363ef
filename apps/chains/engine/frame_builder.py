"""Frames made from their parts, with right lengths and checksums."""

import struct
from dataclasses import dataclass

from apps.chains.engine.checksum import checksum_of, word_sum
from apps.chains.engine.protocols import ICMP, ICMPV6, TCP, UDP


@dataclass(frozen=True, slots=True)
class FrameParts:
    """What a frame is made of.

    Args:
        src, dst: 4 or 16 bytes each, of the same length.
        proto: of the transport header; TCP, UDP, ICMP and ICMPv6 get one, others none.
        payload: behind the transport header; for a later fragment, behind the IP header.
        options: IPv4 options (a multiple of 4 bytes, at most 40), or IPv6 extension headers whose last next-header
            byte is ``proto``; ``first_extension`` is then the number of the first one.
        tag: VLAN control information, ``None`` for no tag.
        fragment: IPv4 flags and offset (the 16 bits as on the wire).
        has_udp_checksum: ``False`` sends 0, "none".
    """

    src: bytes
    dst: bytes
    proto: int
    payload: bytes
    src_port: int = 0
    dst_port: int = 0
    ttl: int = 64
    tos: int = 0
    ip_id: int = 0
    flow_label: int = 0
    seq: int = 0
    ack: int = 0
    tcp_flags: int = 0x10
    window: int = 0xFFFF
    eth_src: bytes = b"\x02\0\0\0\0\x01"
    eth_dst: bytes = b"\x02\0\0\0\0\x02"
    tag: int | None = None
    options: bytes = b""
    first_extension: int | None = None
    fragment: int = 0
    has_udp_checksum: bool = True


def build_frame(parts: FrameParts) -> bytes:
    """Return the frame. Complexity: linear, about 6 us."""
    body = parts.payload if parts.fragment & 0x1FFF else _transport(parts)
    if len(parts.src) == 4:
        kind, header = 0x0800, _ipv4(parts, len(body))
    else:
        kind, header = 0x86DD, _ipv6(parts, len(body))
    tag = b"" if parts.tag is None else struct.pack("!HH", 0x8100, parts.tag)
    return parts.eth_dst + parts.eth_src + tag + struct.pack("!H", kind) + header + body


def _ipv4(parts: FrameParts, body_bytes: int) -> bytes:
    size = 20 + len(parts.options)
    head = struct.pack(
        "!BBHHHBBH",
        0x40 | size // 4,
        parts.tos,
        size + body_bytes,
        parts.ip_id,
        parts.fragment,
        parts.ttl,
        parts.proto,
        0,
    )
    header = head + parts.src + parts.dst + parts.options
    return header[:10] + struct.pack("!H", checksum_of(word_sum(header))) + header[12:]


def _ipv6(parts: FrameParts, body_bytes: int) -> bytes:
    first = parts.proto if parts.first_extension is None else parts.first_extension
    head = struct.pack(
        "!IHBB",
        6 << 28 | parts.tos << 20 | parts.flow_label,
        len(parts.options) + body_bytes,
        first,
        parts.ttl,
    )
    return head + parts.src + parts.dst + parts.options


def _transport(parts: FrameParts) -> bytes:
    payload, proto = parts.payload, parts.proto
    ports = struct.pack("!HH", parts.src_port, parts.dst_port)
    if proto == TCP:
        head = ports + struct.pack(
            "!IIBBHHH", parts.seq, parts.ack, 0x50, parts.tcp_flags, parts.window, 0, 0
        )
        return _summed(parts, head + payload, 16)
    if proto == UDP:
        segment = ports + struct.pack("!HH", 8 + len(payload), 0) + payload
        return _summed(parts, segment, 6) if parts.has_udp_checksum else segment
    if proto == (ICMP if len(parts.src) == 4 else ICMPV6):
        echo = struct.pack("!BBHHH", 8 if proto == ICMP else 128, 0, 0, parts.src_port, parts.seq & 0xFFFF)
        return _summed(parts, echo + payload, 2)
    return payload


def _summed(parts: FrameParts, segment: bytes, at: int) -> bytes:
    total = word_sum(segment)
    if parts.proto != ICMP:
        total += word_sum(parts.src) + word_sum(parts.dst) + parts.proto + len(segment)
    checksum = checksum_of(total, is_udp=parts.proto == UDP)
    return segment[:at] + struct.pack("!H", checksum) + segment[at + 2 :]
