"""How each field of a packet is read and written. Values are integers, except the payload's bytes."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from apps.chains.engine.fields import Field
from apps.chains.engine.protocols import ICMP, TCP, UDP

if TYPE_CHECKING:
    from apps.chains.engine.packet import Packet

Value = int | bytes
Getter = Callable[["Packet"], Value | None]
Setter = Callable[["Packet", Value], None]


def _ethernet(at: int) -> tuple[Getter, Setter]:
    def get(packet: "Packet") -> Value | None:
        data = packet.data
        return int.from_bytes(data[at : at + 6], "big") if len(data) >= 14 else None

    def put(packet: "Packet", value: Value) -> None:
        assert isinstance(value, int)
        if len(packet.data) >= 14:
            packet.data[at : at + 6] = (value & 0xFFFFFFFFFFFF).to_bytes(6, "big")

    return get, put


def _get_vlan(packet: "Packet") -> Value | None:
    at, data = packet.vlan, packet.data
    return data[at] << 8 | data[at + 1] if at else None


def _set_vlan(packet: "Packet", value: Value) -> None:
    assert isinstance(value, int)
    at = packet.vlan
    if at:
        packet.data[at], packet.data[at + 1] = value >> 8 & 0xFF, value & 0xFF


def _get_src(packet: "Packet") -> Value | None:
    at = packet.l3
    if packet.ip_version == 4:
        return int.from_bytes(packet.data[at + 12 : at + 16], "big")
    return int.from_bytes(packet.data[at + 8 : at + 24], "big") if packet.ip_version else None


def _get_dst(packet: "Packet") -> Value | None:
    at = packet.l3
    if packet.ip_version == 4:
        return int.from_bytes(packet.data[at + 16 : at + 20], "big")
    return int.from_bytes(packet.data[at + 24 : at + 40], "big") if packet.ip_version else None


def _set_src(packet: "Packet", value: Value) -> None:
    packet.set_address(12, 8, value, True)


def _set_dst(packet: "Packet", value: Value) -> None:
    packet.set_address(16, 24, value, packet.is_dst_summed)


def _get_proto(packet: "Packet") -> Value | None:
    return packet.proto if packet.ip_version else None


def _set_proto(packet: "Packet", value: Value) -> None:
    """Write the protocol where it stands in the IP header itself."""
    assert isinstance(value, int)
    link = packet.l3 + (9 if packet.ip_version == 4 else 6)
    if packet.ip_version and packet.data[link] == packet.proto and value & 0xFF != packet.proto:
        if packet.proto not in (ICMP, -1) or packet.ip_version == 6:
            packet.mend_l4(packet.proto, value & 0xFF)
        packet.write_protocol(link, value & 0xFF)
        packet.reparse()


def _get_ttl(packet: "Packet") -> Value | None:
    if packet.ip_version:
        return packet.data[packet.l3 + (8 if packet.ip_version == 4 else 7)]
    return None


def _set_ttl(packet: "Packet", value: Value) -> None:
    assert isinstance(value, int)
    data, new = packet.data, value & 0xFF
    if packet.ip_version == 4:
        at = packet.l3 + 8
        packet.mend_ip(data[at] << 8, new << 8)
        data[at] = new
    elif packet.ip_version == 6:
        data[packet.l3 + 7] = new


def _get_tos(packet: "Packet") -> Value | None:
    data, at = packet.data, packet.l3
    if packet.ip_version == 4:
        return data[at + 1]
    return (data[at] & 15) << 4 | data[at + 1] >> 4 if packet.ip_version else None


def _set_tos(packet: "Packet", value: Value) -> None:
    assert isinstance(value, int)
    data, at, new = packet.data, packet.l3, value & 0xFF
    if packet.ip_version == 4:
        packet.mend_ip(data[at + 1], new)
        data[at + 1] = new
    elif packet.ip_version == 6:
        data[at] = 0x60 | new >> 4
        data[at + 1] = (new & 15) << 4 | data[at + 1] & 15


def _get_id(packet: "Packet") -> Value | None:
    data, at = packet.data, packet.l3 + 4
    return data[at] << 8 | data[at + 1] if packet.ip_version == 4 else None


def _set_id(packet: "Packet", value: Value) -> None:
    assert isinstance(value, int)
    if packet.ip_version == 4:
        data, at, new = packet.data, packet.l3 + 4, value & 0xFFFF
        packet.mend_ip(data[at] << 8 | data[at + 1], new)
        data[at], data[at + 1] = new >> 8, new & 0xFF


def _get_label(packet: "Packet") -> Value | None:
    data, at = packet.data, packet.l3
    return (data[at + 1] & 15) << 16 | data[at + 2] << 8 | data[at + 3] if packet.ip_version == 6 else None


def _set_label(packet: "Packet", value: Value) -> None:
    assert isinstance(value, int)
    if packet.ip_version == 6:
        data, at = packet.data, packet.l3
        data[at + 1] = data[at + 1] & 0xF0 | value >> 16 & 15
        data[at + 2], data[at + 3] = value >> 8 & 0xFF, value & 0xFF


def _transport(at: int, size: int, protocols: frozenset[int]) -> tuple[Getter, Setter]:
    def get(packet: "Packet") -> Value | None:
        start = packet.l4 + at
        if packet.l4 and packet.proto in protocols:
            return int.from_bytes(packet.data[start : start + size], "big")
        return None

    def put(packet: "Packet", value: Value) -> None:
        assert isinstance(value, int)
        if packet.l4 and packet.proto in protocols:
            data, start = packet.data, packet.l4 + at
            new = value & ((1 << size * 8) - 1)
            packet.mend_l4(int.from_bytes(data[start : start + size], "big"), new)
            data[start : start + size] = new.to_bytes(size, "big")

    return get, put


def _get_payload(packet: "Packet") -> Value | None:
    if packet.ip_version == 0 or packet.is_header_only:
        return None
    return bytes(packet.data[packet.payload : packet.end])


def _set_payload(packet: "Packet", value: Value) -> None:
    packet.set_payload(value)


_PORTS: Final = frozenset({TCP, UDP})
_TCP: Final = frozenset({TCP})
_ACCESS: Final[dict[Field, tuple[Getter, Setter]]] = {
    Field.ETH_DST: _ethernet(0),
    Field.ETH_SRC: _ethernet(6),
    Field.VLAN: (_get_vlan, _set_vlan),
    Field.IP_SRC: (_get_src, _set_src),
    Field.IP_DST: (_get_dst, _set_dst),
    Field.IP_PROTO: (_get_proto, _set_proto),
    Field.IP_TTL: (_get_ttl, _set_ttl),
    Field.IP_TOS: (_get_tos, _set_tos),
    Field.IP_ID: (_get_id, _set_id),
    Field.FLOW_LABEL: (_get_label, _set_label),
    Field.SRC_PORT: _transport(0, 2, _PORTS),
    Field.DST_PORT: _transport(2, 2, _PORTS),
    Field.TCP_SEQ: _transport(4, 4, _TCP),
    Field.TCP_ACK: _transport(8, 4, _TCP),
    # One byte in the low half of its word, so its value is its share of the sum.
    Field.TCP_FLAGS: _transport(13, 1, _TCP),
    Field.TCP_WINDOW: _transport(14, 2, _TCP),
    Field.PAYLOAD: (_get_payload, _set_payload),
}
GETTERS: Final = {name: pair[0] for name, pair in _ACCESS.items()}
SETTERS: Final = {name: pair[1] for name, pair in _ACCESS.items()}
