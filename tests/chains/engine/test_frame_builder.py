"""Frames from parts: every checksum computed word by word by the twin, for all kinds of frames."""

import pytest

from apps.chains.engine.frame_builder import FrameParts, build_frame
from apps.chains.engine.packet import parse
from apps.chains.engine.protocols import ICMP, ICMPV6, TCP, UDP
from tests.chains.engine.checking import are_checksums_right

V4 = (b"\x0a\0\0\x01", b"\x0a\0\0\x02")
V6 = (bytes(15) + b"\x01", bytes(15) + b"\x02")


@pytest.mark.parametrize("addresses", [V4, V6])
@pytest.mark.parametrize("proto", [TCP, UDP, ICMP, ICMPV6, 47])
@pytest.mark.parametrize("size", [0, 1, 2, 1400])
def test_lengths_and_checksums(addresses: tuple[bytes, bytes], proto: int, size: int) -> None:
    frame = build_frame(FrameParts(*addresses, proto, b"\xff" * size, 5, 6))
    packet = parse(frame)
    assert (packet.proto, packet.end, packet.ip_bytes) == (proto, len(frame), len(frame) - 14)
    assert are_checksums_right(packet)
    assert packet.end - packet.payload == size


def test_a_known_header() -> None:
    """The IPv4 header that textbooks compute: its checksum is 0xb861."""
    frame = build_frame(
        FrameParts(b"\xc0\xa8\0\x01", b"\xc0\xa8\0\xc7", UDP, bytes(87), 53, 59772, fragment=0x4000)
    )
    assert frame[14:34].hex() == "45000073000040004011b861c0a80001c0a800c7"
    assert frame[34:40].hex() == "0035e97c005f"
