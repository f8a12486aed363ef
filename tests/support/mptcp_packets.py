"""Frames with MPTCP, built from plain values by ``struct`` alone: the oracle of the decoders' round trips.

Nothing here uses the decoders. Captures, samples and flow records around the frames: ``mptcp_containers``.
"""

import struct
from dataclasses import dataclass, replace
from ipaddress import ip_address

SYN, ACK, FIN, RST, PSH = 0x02, 0x10, 0x01, 0x04, 0x08


def option(subtype: int, low: int, rest: bytes) -> bytes:
    """Return one option of kind 30 with its length set right."""
    return bytes([30, 3 + len(rest), subtype << 4 | low]) + rest


def capable(
    version: int = 1,
    key: int | None = None,
    peer_key: int | None = None,
    map_bytes: int | None = None,
    checksum: bool = False,
) -> bytes:
    """Return MP_CAPABLE: of a SYN without key, with one key, both, or both and the length of data."""
    rest = b"\x01" if not checksum else b"\x81"
    for value in (key, peer_key):
        rest += b"" if value is None else struct.pack(">Q", value)
    if map_bytes is not None:
        rest += struct.pack(">H", map_bytes) + (b"\xab\xcd" if checksum else b"")
    return option(0, version, rest)


def join_syn(token: int, nonce: int, address_id: int = 0, backup: bool = False) -> bytes:
    """Return MP_JOIN of a SYN."""
    return option(1, int(backup), struct.pack(">BII", address_id, token, nonce))


def join_syn_ack(nonce: int, address_id: int = 0, backup: bool = False, mac: bytes = b"\x11" * 8) -> bytes:
    """Return MP_JOIN of a SYN/ACK."""
    return option(1, int(backup), bytes([address_id]) + mac + struct.pack(">I", nonce))


def join_ack(mac: bytes = b"\x22" * 20) -> bytes:
    """Return MP_JOIN of the third packet."""
    return option(1, 0, b"\0" + mac)


def dss(
    ack: int | None = None,
    ack_bytes: int = 8,
    dsn: int | None = None,
    dsn_bytes: int = 8,
    ssn: int = 0,
    map_bytes: int = 0,
    fin: bool = False,
    checksum: bool = False,
) -> bytes:
    """Return a data sequence signal."""
    flags, rest = (16 if fin else 0), b""
    if ack is not None:
        flags |= 1 | (2 if ack_bytes == 8 else 0)
        rest += struct.pack(">Q" if ack_bytes == 8 else ">I", ack)
    if dsn is not None:
        flags |= 4 | (8 if dsn_bytes == 8 else 0)
        rest += struct.pack(">Q" if dsn_bytes == 8 else ">I", dsn)
        rest += struct.pack(">IH", ssn, map_bytes) + (b"\xbe\xef" if checksum else b"")
    return option(2, 0, bytes([flags]) + rest)


def add_addr(
    address_id: int,
    address: str,
    port: int = 0,
    echo: bool = False,
    version: int = 1,
    mac: bytes = b"\x33" * 8,
) -> bytes:
    """Return ADD_ADDR; v1 that is no echo carries ``mac``."""
    packed = ip_address(address).packed
    low = (4 if len(packed) == 4 else 6) if version == 0 else int(echo)
    rest = bytes([address_id]) + packed + (struct.pack(">H", port) if port else b"")
    return option(3, low, rest + (mac if version == 1 and not echo else b""))


def remove_addr(*address_ids: int) -> bytes:
    """Return REMOVE_ADDR."""
    return option(4, 0, bytes(address_ids))


def prio(backup: bool, address_id: int | None = None) -> bytes:
    """Return MP_PRIO, with an address ID in v0."""
    return option(5, int(backup), b"" if address_id is None else bytes([address_id]))


def fail(dsn: int) -> bytes:
    """Return MP_FAIL."""
    return option(6, 0, b"\0" + struct.pack(">Q", dsn))


def fastclose(peer_key: int) -> bytes:
    """Return MP_FASTCLOSE."""
    return option(7, 0, b"\0" + struct.pack(">Q", peer_key))


def tcprst(reason: int = 1) -> bytes:
    """Return MP_TCPRST."""
    return option(8, 0, bytes([reason]))


@dataclass(frozen=True, slots=True)
class Segment:
    """One TCP segment as values.

    Args:
        options: TCP options, padded with end-of-options to a multiple of four.
        extension: IPv6 extension headers as (type, bytes); IPv4 options are ``ip_options``.
    """

    src: str = "10.0.0.1"
    dst: str = "10.0.0.2"
    src_port: int = 40000
    dst_port: int = 443
    seq: int = 1
    ack: int = 0
    flags: int = ACK
    options: bytes = b""
    payload: bytes = b""
    ip_options: bytes = b""
    extensions: tuple[tuple[int, bytes], ...] = ()
    fragment_offset: int = 0
    zero_ip_length: bool = False

    def but(self, **changes: object) -> "Segment":
        """Return it with some values changed."""
        return replace(self, **changes)  # type: ignore[arg-type]


def tcp_bytes(segment: Segment) -> bytes:
    """Return header, options and payload."""
    options = segment.options + bytes(-len(segment.options) % 4)
    header = (20 + len(options)) // 4
    assert header <= 15, "options do not fit"
    return (
        struct.pack(
            ">HHIIBBHHH", segment.src_port, segment.dst_port, segment.seq, segment.ack,
            header << 4, segment.flags, 65535, 0, 0,
        )
        + options
        + segment.payload
    )  # fmt: skip


def ip_bytes(segment: Segment) -> bytes:
    """Return the IP packet, of the version of its addresses."""
    tcp = tcp_bytes(segment)
    src, dst = ip_address(segment.src).packed, ip_address(segment.dst).packed
    if len(src) == 4:
        options = segment.ip_options + bytes(-len(segment.ip_options) % 4)
        total = 0 if segment.zero_ip_length else 20 + len(options) + len(tcp)
        return (
            struct.pack(
                ">BBHHHBBH", 0x45 + len(options) // 4, 0, total, 7, segment.fragment_offset // 8, 64, 6, 0
            )
            + src
            + dst
            + options
            + tcp
        )
    types = [kind for kind, _ in segment.extensions] + [6]
    chain = b"".join(
        bytes([types[index + 1]]) + body[1:] for index, (_, body) in enumerate(segment.extensions)
    )
    size = 0 if segment.zero_ip_length else len(chain) + len(tcp)
    return struct.pack(">IHBB", 6 << 28, size, types[0], 64) + src + dst + chain + tcp


def _ether_type(packet: bytes) -> int:
    return 0x0800 if packet[0] >> 4 == 4 else 0x86DD


def _ppp_protocol(packet: bytes) -> int:
    return 0x21 if packet[0] >> 4 == 4 else 0x57


def in_link(packet: bytes, link: str) -> tuple[int, bytes]:
    """Return libpcap's link type and the frame of an IP packet in a link layer by name, see ``LINKS``."""
    kind, protocol = _ether_type(packet), _ppp_protocol(packet)
    macs = bytes.fromhex("020000000001020000000002")
    pppoe = struct.pack(">BBHHH", 0x11, 0, 9, len(packet) + 2, protocol)
    family = 2 if kind == 0x0800 else 10
    return {
        "ethernet": (1, macs + struct.pack(">H", kind) + packet),
        "vlan": (1, macs + struct.pack(">HHH", 0x8100, 5, kind) + packet),
        "qinq": (1, macs + struct.pack(">HHHHH", 0x88A8, 5, 0x8100, 6, kind) + packet),
        "pppoe": (1, macs + struct.pack(">H", 0x8864) + pppoe + packet),
        "sll": (113, struct.pack(">HHH8sH", 0, 1, 6, macs[:8], kind) + packet),
        "sll_vlan": (113, struct.pack(">HHH8sHHH", 0, 1, 6, macs[:8], 0x8100, 5, kind) + packet),
        "sll2": (276, struct.pack(">HHIHBB8s", kind, 0, 3, 1, 0, 6, macs[:8]) + packet),
        "raw": (101, packet),
        "raw_dlt": (12, packet),
        "raw_bsd": (14, packet),
        "ip": (228 if kind == 0x0800 else 229, packet),
        "null": (0, struct.pack("<I", family) + packet),
        "null_big": (0, struct.pack(">I", family) + packet),
        "loop": (108, struct.pack(">I", family) + packet),
        "ppp": (9, struct.pack(">BBH", 0xFF, 3, protocol) + packet),
        "ppp_bare": (9, bytes([protocol]) + packet),
        "ppp_serial": (50, struct.pack(">BBH", 0xFF, 3, protocol) + packet),
        "ppp_direction": (204, struct.pack(">BBBH", 1, 0xFF, 3, protocol) + packet),
        "ppp_ether": (51, pppoe + packet),
    }[link]


LINKS = (
    "ethernet", "vlan", "qinq", "pppoe", "sll", "sll_vlan", "sll2", "raw", "raw_dlt", "raw_bsd", "ip",
    "null", "null_big", "loop", "ppp", "ppp_bare", "ppp_serial", "ppp_direction", "ppp_ether",
)  # fmt: skip


def frame(segment: Segment, link: str = "ethernet") -> bytes:
    """Return a whole frame."""
    return in_link(ip_bytes(segment), link)[1]
