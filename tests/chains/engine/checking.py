"""The dumb twins of checksums and parsing: everything computed anew from the bytes."""

from apps.chains.engine.fields import Field
from apps.chains.engine.packet import Packet
from apps.chains.engine.protocols import ICMP, UDP

SAMPLES: dict[Field, tuple[int | bytes, ...]] = {
    Field.ETH_DST: (0, 0x020000000099, 0xFFFFFFFFFFFF),
    Field.ETH_SRC: (0, 0x020000000098, 0xFFFFFFFFFFFF),
    Field.VLAN: (0, 7, 0xFFFF),
    Field.IP_SRC: (0, 0x0A000001, 0xFFFFFFFF, (1 << 128) - 1),
    Field.IP_DST: (0, 0x0A000002, 0xFFFFFFFF, (1 << 128) - 1),
    Field.IP_TTL: (0, 1, 255),
    Field.IP_TOS: (0, 0xB8, 255),
    Field.IP_ID: (0, 77, 0xFFFF),
    Field.FLOW_LABEL: (0, 9, 0xFFFFF),
    Field.SRC_PORT: (0, 80, 0xFFFF),
    Field.DST_PORT: (0, 443, 0xFFFF),
    Field.TCP_SEQ: (0, 1, 0xFFFFFFFF),
    Field.TCP_ACK: (0, 1, 0xFFFFFFFF),
    Field.TCP_FLAGS: (0, 2, 255),
    Field.TCP_WINDOW: (0, 512, 0xFFFF),
    Field.PAYLOAD: (b"", b"x", b"ab" * 20, b"\xff" * 33),
}


def words_of(data: bytes) -> int:
    """Add 16-bit words the way RFC 1071 tells it."""
    total = 0
    for at in range(0, len(data), 2):
        total += int.from_bytes(data[at : at + 2].ljust(2, b"\0"), "big")
        total = (total & 0xFFFF) + (total >> 16)
    return total


def are_checksums_right(packet: Packet) -> bool:
    """Whether all checksums of a whole, unfragmented packet fit its bytes."""
    data, l3, l4 = bytes(packet.data), packet.l3, packet.l4
    if packet.ip_version == 4 and words_of(data[l3 : l3 + (data[l3] & 15) * 4]) != 0xFFFF:
        return False
    if not packet.l4_sum:
        return True
    segment = data[l4 : packet.end]
    total = words_of(segment)
    if packet.proto != ICMP:
        total += words_of(packet.addresses()) + packet.proto + len(segment)
        if packet.proto == UDP and int.from_bytes(data[l4 + 4 : l4 + 6], "big") != len(segment):
            return False
    return total % 0xFFFF == 0


def all_fields(packet: Packet) -> dict[Field, int | bytes | None]:
    """Return every field of a packet."""
    return {field: packet.get(field) for field in Field}
