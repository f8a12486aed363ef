"""Traffic to test and to measure with: sizes of two peaks, flows by Zipf's law, and the oddities of real networks.

Source: the brief: sizes 64-200 and 1400-1500 bytes with mean 724 (data-centre traces as NFP quotes them), Zipf flows.
"""

import random
import struct
from bisect import bisect
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import accumulate

from apps.chains.engine.capture_file import read_pcap, write_pcap
from apps.chains.engine.frame_builder import FrameParts, build_frame
from apps.chains.engine.protocols import AH, ICMP, ICMPV6, TCP, UDP

__all__ = ["TrafficMix", "TrafficSource", "read_pcap", "write_pcap"]

SMALL_BYTES = (64, 200)
LARGE_BYTES = (1400, 1500)
# With the means of both ranges, 132 and 1450, the mean of all is 724.
SMALL_RATIO = 0.551
_HEADER_BYTES = {(4, TCP): 54, (4, UDP): 42, (6, TCP): 74, (6, UDP): 62}


@dataclass(frozen=True, slots=True)
class TrafficMix:
    """What traffic looks like.

    Args:
        flow_count: flows, 1 to 1 000 000; the k-th most frequent has weight k^-``zipf_exponent``.
        tcp_ratio, ipv6_ratio, reply_ratio: shares of flows that are TCP or IPv6, and of packets from server to client.
        client_net, server_net: IPv4 addresses whose last 16 bits a flow chooses, e.g. ``0x0A010000``.
        servers: how many server addresses there are; ``server_ports``: what they listen on.
        texts: payload beginnings, e.g. requests or signatures; ``text_ratio``: share of packets that carry one.
        odd_ratio: share of packets that are odd: fragments, options, tags, other protocols, broken ones.
        small_ratio: share of small packets.
    """

    flow_count: int = 1000
    zipf_exponent: float = 1.0
    tcp_ratio: float = 0.8
    ipv6_ratio: float = 0.2
    reply_ratio: float = 0.3
    client_net: int = 0x0A010000
    server_net: int = 0xC0A80000
    servers: int = 64
    server_ports: tuple[int, ...] = (80, 443, 53, 8080)
    texts: tuple[bytes, ...] = ()
    text_ratio: float = 0.05
    odd_ratio: float = 0.0
    small_ratio: float = SMALL_RATIO


@dataclass(frozen=True, slots=True)
class Flow:
    """One connection of the mix."""

    client: bytes
    server: bytes
    proto: int
    client_port: int
    server_port: int


class TrafficSource:
    """Frames of a mix; the same seed gives the same frames.

    Args:
        mix: what to make.
        seed: of the generator.
    """

    def __init__(self, mix: TrafficMix, seed: int) -> None:
        self.mix = mix
        self._random = random.Random(seed)  # noqa: S311 - not a secret
        self._flows = [self._flow() for _ in range(mix.flow_count)]
        self._weights = list(accumulate((k + 1) ** -mix.zipf_exponent for k in range(mix.flow_count)))
        self._count = 0

    def _flow(self) -> Flow:
        mix, rng = self.mix, self._random
        client = mix.client_net | rng.randrange(1, 0xFFFF)
        server = mix.server_net | 1 + rng.randrange(mix.servers)
        if rng.random() < mix.ipv6_ratio:
            start = bytes.fromhex("20010db8000000000000000000000000")[:12]
            addresses = start + struct.pack("!I", client), start + struct.pack("!I", server)
        else:
            addresses = struct.pack("!I", client), struct.pack("!I", server)
        proto = TCP if rng.random() < mix.tcp_ratio else UDP
        return Flow(*addresses, proto, rng.randrange(1024, 65536), rng.choice(mix.server_ports))

    def frame(self) -> bytes:
        """Return the next frame. Complexity: O(log flows), about 15 us."""
        mix, rng = self.mix, self._random
        self._count += 1
        flow = self._flows[bisect(self._weights, rng.random() * self._weights[-1])]
        parts = self._parts(flow)
        if mix.odd_ratio and rng.random() < mix.odd_ratio:
            return odd_frame(parts, rng)
        return build_frame(parts)

    def frames(self, count: int) -> Iterator[bytes]:
        """Yield the next frames."""
        for _ in range(count):
            yield self.frame()

    def timed(self, count: int, rate_pps: float, start_us: int = 0) -> Iterator[tuple[int, bytes]]:
        """Yield times (microseconds) and frames of Poisson arrivals at a rate."""
        at_us = float(start_us)
        for _ in range(count):
            at_us += self._random.expovariate(rate_pps) * 1e6
            yield int(at_us), self.frame()

    def _parts(self, flow: Flow) -> FrameParts:
        mix, rng = self.mix, self._random
        low, high = SMALL_BYTES if rng.random() < mix.small_ratio else LARGE_BYTES
        version = 4 if len(flow.client) == 4 else 6
        size = max(rng.randint(low, high) - _HEADER_BYTES[version, flow.proto], 0)
        payload = rng.randbytes(size)
        if mix.texts and rng.random() < mix.text_ratio:
            text = rng.choice(mix.texts)
            payload = text + payload[len(text) :]
        src, dst, src_port, dst_port = flow.client, flow.server, flow.client_port, flow.server_port
        if rng.random() < mix.reply_ratio:
            src, dst, src_port, dst_port = dst, src, dst_port, src_port
        return FrameParts(
            src,
            dst,
            flow.proto,
            payload,
            src_port,
            dst_port,
            ttl=rng.choice((1, 63, 64, 128, 255)),
            tos=rng.choice((0, 0, 0, 0x28, 0xB9)),
            ip_id=self._count & 0xFFFF,
            flow_label=rng.getrandbits(20),
            seq=rng.getrandbits(32),
            ack=rng.getrandbits(32),
            tcp_flags=rng.choice((0x02, 0x10, 0x10, 0x18, 0x11)),
        )


def odd_frame(parts: FrameParts, rng: random.Random) -> bytes:
    """Return a frame with one oddity, made from the parts of an ordinary one."""
    kind = rng.randrange(10)
    is_v4 = len(parts.src) == 4
    if kind == 0:
        return build_frame(replace(parts, tag=rng.getrandbits(16)))
    if kind == 1:
        return build_frame(replace(parts, proto=ICMP if is_v4 else ICMPV6))
    if kind == 2:
        return build_frame(replace(parts, proto=rng.choice((47, 132, 50))))
    if kind == 3:
        return build_frame(replace(parts, proto=UDP, has_udp_checksum=False))
    if kind == 4:
        # One frame of another protocol (ARP's number), padded as switches do.
        return build_frame(parts)[:12] + b"\x08\x06" + parts.payload[:46].ljust(46, b"\0")
    if kind == 5:
        return build_frame(parts)[: rng.randrange(120)]
    if kind == 6:
        whole = bytearray(build_frame(parts))
        for _ in range(3):
            whole[rng.randrange(min(len(whole), 90))] = rng.getrandbits(8)
        return bytes(whole)
    if kind == 7:
        return build_frame(replace(parts, payload=parts.payload[:10])) + b"\0" * rng.randrange(1, 20)
    if kind == 8:
        return _fragmented(parts, rng)
    return _with_extensions(parts, rng)


def _fragmented(parts: FrameParts, rng: random.Random) -> bytes:
    is_later = rng.random() < 0.5
    if len(parts.src) == 4:
        return build_frame(replace(parts, fragment=rng.randrange(1, 0x1FFF) if is_later else 0x2000))
    offset = (rng.randrange(1, 0x1FFF) << 3 if is_later else 0) | 1
    header = struct.pack("!BBHI", parts.proto, 0, offset, rng.getrandbits(32))
    if is_later:
        # No transport header follows: build the frame as one of protocol 59, "no next header".
        return build_frame(replace(parts, options=header, first_extension=44, proto=59))
    return build_frame(replace(parts, options=header, first_extension=44))


def _with_extensions(parts: FrameParts, rng: random.Random) -> bytes:
    if len(parts.src) == 4:
        return build_frame(replace(parts, options=b"\x01" * (4 * rng.randrange(1, 11))))
    icv = rng.randbytes(12)
    options = struct.pack("!BB", 60, 0) + b"\x01\x04\0\0\0\0"
    options += struct.pack("!BB", AH, 1) + b"\x01\x0c" + bytes(12)
    options += struct.pack("!BBHII", parts.proto, 4, 0, 256, 1) + icv
    return build_frame(replace(parts, options=options, first_extension=0))
