"""Packets for tests of network functions, from as few words as possible."""

import ipaddress

from apps.chains.engine.frame_builder import FrameParts, build_frame
from apps.chains.engine.packet import Packet, parse
from apps.chains.engine.protocols import TCP


def packet(
    src: str, dst: str, src_port: int = 1000, dst_port: int = 80, payload: bytes = b"", proto: int = TCP
) -> Packet:
    """Return a packet between two addresses."""
    source, target = (ipaddress.ip_address(one).packed for one in (src, dst))
    return parse(build_frame(FrameParts(source, target, proto, payload, src_port, dst_port)))


def ends(one: Packet) -> tuple[str, int, str, int]:
    """Return source and destination with ports."""
    addresses, key = one.addresses(), one.flow_key()
    size = len(addresses) // 2
    return (
        str(ipaddress.ip_address(addresses[:size])),
        int.from_bytes(key[-5:-3], "big"),
        str(ipaddress.ip_address(addresses[size:])),
        int.from_bytes(key[-3:-1], "big"),
    )
