"""Packets: fields and checksums against twins that compute anew, header-only copies, authentication headers, fuzz."""

import itertools
import random
import struct

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from apps.chains.engine.fields import Field
from apps.chains.engine.frame_builder import FrameParts, build_frame
from apps.chains.engine.packet import Packet, parse
from apps.chains.engine.protocols import AH, ICMP, ICMPV6, TCP, UDP
from apps.chains.engine.traffic_mix import TrafficMix, TrafficSource
from tests.chains.engine.checking import SAMPLES, all_fields, are_checksums_right

V4 = (bytes([10, 0, 0, 1]), bytes([192, 168, 0, 9]))
V6 = (bytes.fromhex("20010db8" + "00" * 11 + "01"), bytes.fromhex("20010db8" + "00" * 11 + "02"))
ODD = TrafficMix(odd_ratio=0.6, flow_count=50, ipv6_ratio=0.5, tcp_ratio=0.5)


def tcp4(**changes: object) -> FrameParts:
    values = {"proto": TCP, "payload": b"hello", "src_port": 1000, "dst_port": 80, **changes}
    return FrameParts(*V4, **values)  # type: ignore[arg-type]


WHOLE = [
    tcp4(),
    tcp4(proto=UDP),
    tcp4(proto=UDP, has_udp_checksum=False),
    tcp4(proto=ICMP),
    tcp4(options=b"\x01" * 8),
    tcp4(tag=0x2007),
    FrameParts(*V6, TCP, b"hello!", 1, 2, tos=0xB8, flow_label=0x12345),
    FrameParts(*V6, UDP, b"hello", 1, 2),
    FrameParts(*V6, ICMPV6, b"hello", 1, 2),
    FrameParts(*V6, TCP, b"x", 1, 2, options=bytes([TCP, 0, 1, 4, 0, 0, 0, 0]), first_extension=60),
]


def test_fields_of_a_frame() -> None:
    packet = parse(build_frame(tcp4(ttl=9, tos=3, ip_id=5, seq=6, ack=7, tcp_flags=8, window=9, tag=12)))
    assert all_fields(packet) == {
        Field.ETH_DST: 0x020000000002,
        Field.ETH_SRC: 0x020000000001,
        Field.VLAN: 12,
        Field.IP_SRC: 0x0A000001,
        Field.IP_DST: 0xC0A80009,
        Field.IP_PROTO: TCP,
        Field.IP_TTL: 9,
        Field.IP_TOS: 3,
        Field.IP_ID: 5,
        Field.FLOW_LABEL: None,
        Field.SRC_PORT: 1000,
        Field.DST_PORT: 80,
        Field.TCP_SEQ: 6,
        Field.TCP_ACK: 7,
        Field.TCP_FLAGS: 8,
        Field.TCP_WINDOW: 9,
        Field.PAYLOAD: b"hello",
    }
    assert packet.ip_bytes == 45


@pytest.mark.parametrize("parts", WHOLE)
def test_each_field_can_be_written_alone_and_checksums_follow(parts: FrameParts) -> None:
    frame = build_frame(parts)
    assert are_checksums_right(parse(frame))
    for field, values in SAMPLES.items():
        for value in values:
            packet = parse(frame)
            before = all_fields(packet)
            packet.set(field, value)
            expected = dict(before)
            if before[field] is not None:
                is_v4_address = field in (Field.IP_SRC, Field.IP_DST) and packet.ip_version == 4
                expected[field] = value & 0xFFFFFFFF if is_v4_address else value  # type: ignore[operator]
            assert all_fields(packet) == expected, (field, value)
            assert are_checksums_right(packet), (field, value)
            assert all_fields(parse(bytes(packet.data))) == expected


def test_udp_without_checksum_stays_without_and_zero_is_never_sent() -> None:
    packet = parse(build_frame(tcp4(proto=UDP, has_udp_checksum=False)))
    packet.set(Field.SRC_PORT, 99)
    assert packet.data[packet.l4 + 6 : packet.l4 + 8] == b"\0\0"
    frame = build_frame(tcp4(proto=UDP))
    for port in range(0, 65536, 7):
        packet = parse(frame)
        packet.set(Field.SRC_PORT, port)
        assert packet.data[packet.l4 + 6 : packet.l4 + 8] != b"\0\0"


def test_a_wrong_checksum_stays_wrong() -> None:
    """Changes are incremental: a packet damaged on its way must not look whole again."""
    frame = bytearray(build_frame(tcp4()))
    frame[-1] ^= 1
    packet = parse(frame)
    packet.set(Field.IP_DST, 1)
    packet.set(Field.PAYLOAD, b"other")
    assert not are_checksums_right(packet)


def test_destination_under_a_routing_header_is_not_in_the_checksum() -> None:
    """RFC 8200 section 8.1: the pseudo header holds the final destination."""
    routing = bytes([TCP, 2, 0, 1, 0, 0, 0, 0]) + V6[1]
    packet = parse(build_frame(FrameParts(*V6, TCP, b"x", options=routing, first_extension=43)))
    before = bytes(packet.data[packet.l4 :])
    packet.set(Field.IP_DST, 5)
    assert bytes(packet.data[packet.l4 :]) == before


def test_first_fragment_has_ports_later_ones_have_none() -> None:
    first, later = parse(build_frame(tcp4(fragment=0x2000))), parse(build_frame(tcp4(fragment=0x2005)))
    assert first.is_fragment
    assert first.get(Field.SRC_PORT) == 1000
    assert later.is_later_fragment
    assert later.get(Field.SRC_PORT) is None
    assert later.get(Field.PAYLOAD) == b"hello"
    later.set(Field.IP_SRC, 77)
    assert later.get(Field.IP_SRC) == 77


@settings(max_examples=120)
@given(st.integers(0, 10**9))
def test_header_copy_parses_as_the_whole_packet(seed: int) -> None:
    source = TrafficSource(ODD, seed)
    for frame in source.frames(5):
        packet = parse(frame)
        copy = packet.header_copy()
        again = parse(bytes(copy.data), True)
        for name in Packet.__slots__:
            if name not in ("data", "end", "is_header_only") and not (
                name == "payload" and (packet.ip_version == 0 or packet.is_broken)
            ):
                assert getattr(copy, name) == getattr(packet, name), name
                assert getattr(again, name) == getattr(packet, name), name
        assert copy.ip_bytes == packet.ip_bytes
        assert copy.flow_key() == packet.flow_key()


@settings(max_examples=120)
@given(st.integers(0, 10**9))
def test_header_changes_on_a_copy_equal_those_on_the_whole(seed: int) -> None:
    """What a branch makes of headers alone must be what it would make of the packet."""
    rng = random.Random(seed)
    for frame in TrafficSource(ODD, seed).frames(3):
        whole = parse(frame)
        copy = whole.header_copy()
        for _ in range(5):
            field = rng.choice([one for one in SAMPLES if one is not Field.PAYLOAD])
            value = rng.choice(SAMPLES[field])
            whole.set(field, value)
            copy.set(field, value)
        assert bytes(whole.data).startswith(bytes(copy.data))


@settings(max_examples=120)
@given(st.integers(0, 10**9))
def test_the_order_of_changes_does_not_show(seed: int) -> None:
    rng = random.Random(seed)
    frame = TrafficSource(ODD, seed).frame()
    changes = [(field, rng.choice(values)) for field, values in SAMPLES.items() if rng.random() < 0.5]
    forward, backward, wandering = parse(frame), parse(frame), parse(frame)
    for field, value in changes:
        wandering.set(field, rng.choice(SAMPLES[field]))
        forward.set(field, value)
    for field, value in reversed(changes):
        backward.set(field, value)
        wandering.set(field, value)
    assert forward.data == backward.data == wandering.data


@settings(max_examples=120)
@given(st.integers(0, 10**9))
def test_authentication_header_goes_in_and_out_without_trace(seed: int) -> None:
    for frame in TrafficSource(ODD, seed).frames(3):
        packet = parse(frame)
        before, fields = bytes(packet.data), all_fields(packet)
        if not packet.add_ah(256, 7, bytes(12)):
            assert packet.ip_version == 0
            assert bytes(packet.data) == before
            continue
        assert all_fields(packet) == fields
        assert all_fields(parse(bytes(packet.data))) == fields
        header = packet.remove_ah()
        assert header is not None
        assert struct.unpack_from("!II", header, 4) == (256, 7)
        assert bytes(packet.data) == before


def test_authentication_header_hides_no_protocol() -> None:
    """Some numbers are extension headers in IPv6 alone."""
    for proto, addresses in itertools.product(range(256), (V4, V6)):
        packet = parse(build_frame(FrameParts(*addresses, proto, bytes(range(40)), 1, 2)))
        fields = all_fields(packet)
        assert packet.add_ah(1, 1, bytes(12))
        assert all_fields(packet) == fields


@pytest.mark.parametrize("parts", WHOLE)
def test_authentication_header_keeps_checksums_right(parts: FrameParts) -> None:
    packet = parse(build_frame(parts))
    packet.add_ah(1, 2, b"i" * 12)
    assert are_checksums_right(packet)
    at = packet.l3 + (9 if packet.ip_version == 4 else 6)
    assert packet.data[at] == AH


@settings(max_examples=300)
@given(st.binary(max_size=120), st.booleans())
@example(b"\0" * 12 + b"\x81\x00" * 50, False)
def test_no_bytes_raise(data: bytes, is_ip: bool) -> None:
    """Random bytes, half of them behind a header that says IP: parse, read, write, copy, insert and remove."""
    if is_ip and len(data) > 20:
        version = 4 + 2 * (data[0] & 1)
        kind = b"\x08\x00" if version == 4 else b"\x86\xdd"
        data = data[:12] + kind + bytes([version << 4 | 5]) + data[15:]
    for is_header_only in (False, True):
        packet = parse(data, is_header_only)
        assert len(packet.data) == len(data)
        for field, values in SAMPLES.items():
            before = packet.get(field)
            packet.set(field, values[-1])
            assert (packet.get(field) is None) == (before is None)
        packet.copy().header_copy()
        packet.flow_key()
        packet.addresses()
        packet.add_ah(1, 1, bytes(12))
        packet.remove_ah()
        packet.remove_ah()


@pytest.mark.parametrize("size", [34 + 19, 34 + 10, 34])
def test_a_broken_transport_header_is_marked_and_left_alone(size: int) -> None:
    """Else a function that rewrites payloads could make a header where there was none."""
    packet = parse(build_frame(tcp4(payload=b""))[:size])
    assert packet.is_broken
    assert (packet.ip_version, packet.l4, packet.get(Field.PAYLOAD)) == (4, 0, b"")
    before = bytes(packet.data)
    packet.set(Field.PAYLOAD, b"\x50" * 40)
    assert bytes(packet.data) == before
    assert bytes(packet.header_copy().data) == before


@settings(max_examples=120)
@given(st.integers(0, 10**9))
def test_no_write_changes_what_a_packet_is(seed: int) -> None:
    """Parsed again on the next server, a packet must have the same fields as here."""
    rng = random.Random(seed)
    for frame in TrafficSource(ODD, seed).frames(3):
        packet = parse(frame)
        for field in rng.sample(list(SAMPLES), 6):
            packet.set(field, rng.choice(SAMPLES[field]))
            if field is Field.PAYLOAD:
                packet.set(field, rng.randbytes(rng.randrange(60)))
        again = parse(bytes(packet.data))
        assert all_fields(again) == all_fields(packet)
        assert (again.l4, again.payload, again.end) == (packet.l4, packet.payload, packet.end)


def test_copy_is_independent() -> None:
    packet = parse(build_frame(tcp4()))
    twin = packet.copy()
    assert all(getattr(twin, name) == getattr(packet, name) for name in Packet.__slots__)
    twin.set(Field.IP_DST, 1)
    assert packet.get(Field.IP_DST) == 0xC0A80009


def test_payload_never_outgrows_its_length_field() -> None:
    packet = parse(build_frame(tcp4()))
    packet.set(Field.PAYLOAD, bytes(70_000))
    assert packet.get(Field.PAYLOAD) == b"hello"
