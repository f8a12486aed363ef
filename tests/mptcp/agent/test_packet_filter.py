"""The filters in the kernel: how many packets they sample, which ones, cut where, and what a full ring drops."""

import random
import select
import socket
import subprocess
from collections.abc import Sequence

import pytest

from apps.mptcp.agent.packet_filter import sampling_program
from apps.mptcp.agent.packet_ring import LINK_RAW, PacketRing, pcap_head
from apps.mptcp.engine.capture import CaptureDecoder
from apps.mptcp.engine.records import PacketRecords
from tests.nfvportal.agent.in_namespace import in_namespace
from tests.support import mptcp_packets as packets
from tests.support.mptcp_packets import Segment

NOPS = b"\x01"
TIMES = b"\x08\x0a" + bytes(8)
SACK = b"\x05\x0a" + bytes(8)
DSS = packets.dss(ack=7, dsn=1 << 40, ssn=9, map_bytes=1400)
DATA = Segment(options=NOPS * 2 + TIMES + DSS, payload=bytes(1300))


def make_wire() -> None:
    """Connect two interfaces, ``left`` and ``right``."""
    lines = "link add left type veth peer name right\nlink set left up\nlink set right up\n"
    subprocess.run(["ip", "-batch", "-"], input=lines, text=True, check=True)


def send(frames: Sequence[bytes], times: int = 1) -> None:
    """Send frames over ``left``."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as link:
        link.bind(("left", 0))
        for _ in range(times):
            for frame in frames:
                link.send(frame)


def taken(ring: PacketRing) -> bytes:
    """Return all that is in a ring, until nothing came for a third of a second."""
    poll = select.poll()
    poll.register(ring.fileno(), select.POLLIN)
    parts = []
    while poll.poll(300):
        parts.append(ring.take())
    return b"".join(parts)


def decoded(capture: bytes) -> tuple[PacketRecords, CaptureDecoder]:
    """Return what a decoder makes of pcap records of raw IP."""
    decoder = CaptureDecoder()
    return decoder.feed(pcap_head(LINK_RAW, 65_535) + capture), decoder


@in_namespace
def test_the_kernel_samples_the_share_asked_for() -> None:
    make_wire()
    count, ratio = 100_000, 0.05
    ring = PacketRing("right", sampling_program(ratio, 128, mptcp_only=True))
    send([packets.frame(DATA)] * 100, count // 100)
    records, decoder = decoded(taken(ring))
    expected, deviation = count * ratio, (count * ratio * (1 - ratio)) ** 0.5
    # Six standard deviations: by chance once in 500 million runs.
    assert abs(len(records) - expected) < 6 * deviation, len(records)
    counts = ring.counts()
    assert (counts.packet_count, counts.drop_count) == (len(records), 0)
    assert decoder.report.mptcp_count == len(records)


@in_namespace
def test_packets_are_cut_and_still_say_everything() -> None:
    make_wire()
    ring = PacketRing("right", sampling_program(1, 128, mptcp_only=True))
    send([packets.frame(DATA)])
    capture = taken(ring)
    captured, length = (int.from_bytes(capture[at : at + 4], "little") for at in (8, 12))
    assert (captured, length) == (128, len(packets.ip_bytes(DATA)))
    records, _ = decoded(capture)
    assert (records.dsn[0], records.data_ack[0], records.payload_bytes[0]) == (1 << 40, 7, 1300)


def random_options(rng: random.Random) -> bytes:
    """Return TCP options, in any order, whole or broken, at most 40 bytes."""
    pool = (NOPS, NOPS * 3, TIMES, SACK, DSS, b"\x00", b"\x02\x04\x05\xb4", b"\x03\x03\x07", b"\x04\x02", b"\x1e",
            bytes([rng.randrange(256), rng.randrange(44)]), packets.prio(True), packets.remove_addr(1))  # fmt: skip
    return b"".join(rng.choice(pool) for _ in range(rng.randint(0, 12)))[:40]


def random_segment(rng: random.Random, number: int) -> Segment:
    """Return a segment that the filter must judge; its sequence number is its name."""
    is_new = rng.random() < 0.4
    segment = Segment(
        seq=number,
        flags=rng.choice((packets.ACK, packets.ACK | packets.PSH, packets.SYN, packets.FIN | packets.ACK)),
        options=random_options(rng),
        payload=bytes(rng.randint(0, 60)),
        ip_options=NOPS * rng.randrange(0, 8) if not is_new else b"",
    )
    return segment.but(src="fd00::1", dst="fd00::2") if is_new else segment


@in_namespace
def test_the_kernel_passes_what_makes_a_record_and_nothing_else() -> None:
    make_wire()
    rng = random.Random(7)
    segments = [random_segment(rng, number) for number in range(4000)]
    ring = PacketRing("right", sampling_program(1, 256, mptcp_only=True))
    everything = PacketRing("right", sampling_program(1, 256, mptcp_only=False))
    send([packets.frame(segment) for segment in segments])
    only, _ = decoded(taken(ring))
    full, decoder = decoded(taken(everything))
    assert decoder.report.packet_count == len(segments)
    # Broken options end the decoder's walk where they end the kernel's: a record more than the kernel passed would be
    # one that it must not lose.
    assert set(full.seq.tolist()) == set(only.seq.tolist())
    assert 0.3 < len(full) / len(segments) < 1


@in_namespace
def test_what_is_not_tcp_does_not_pass() -> None:
    make_wire()
    later = DATA.but(fragment_offset=800)
    udp = bytearray(packets.frame(DATA))
    udp[14 + 9] = 17
    hop_by_hop = DATA.but(src="fd00::1", dst="fd00::2", extensions=((0, bytes(8)),))
    arp = bytes(12) + b"\x08\x06" + bytes(46)
    ring = PacketRing("right", sampling_program(1, 128, mptcp_only=False))
    send([packets.frame(later), bytes(udp), packets.frame(hop_by_hop), arp, packets.frame(DATA)])
    assert len(decoded(taken(ring))[0]) == 1


@in_namespace
def test_a_full_ring_counts_what_it_drops() -> None:
    make_wire()
    ring = PacketRing("right", sampling_program(1, 128, mptcp_only=True), block_count=2)
    count = 5000
    send([packets.frame(DATA)] * 100, count // 100)
    records, _ = decoded(taken(ring))
    counts = ring.counts()
    assert counts.drop_count > 0
    assert len(records) + counts.drop_count == counts.packet_count == count


def test_an_interface_that_is_not_there_is_an_error() -> None:
    with pytest.raises(OSError, match=r"no interface with this name|No such device"):
        PacketRing("nowhere", sampling_program(1, 128, mptcp_only=True))
