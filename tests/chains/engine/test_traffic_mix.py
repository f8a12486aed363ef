"""The traffic mix has the published shape, repeats by its seed, and holds every oddity."""

import statistics
from collections import Counter

from apps.chains.engine.packet import parse
from apps.chains.engine.protocols import ICMP, TCP, UDP
from apps.chains.engine.traffic_mix import TrafficMix, TrafficSource
from tests.chains.engine.checking import are_checksums_right


def test_sizes_have_two_peaks_and_the_mean_of_the_brief() -> None:
    sizes = [len(frame) for frame in TrafficSource(TrafficMix(), 3).frames(4000)]
    assert all(64 <= size <= 200 or 1400 <= size <= 1500 for size in sizes)
    assert abs(statistics.fmean(sizes) - 724) < 30


def test_the_seed_repeats_everything() -> None:
    assert list(TrafficSource(TrafficMix(), 5).timed(50, 1e4)) == list(
        TrafficSource(TrafficMix(), 5).timed(50, 1e4)
    )
    assert list(TrafficSource(TrafficMix(), 5).frames(5)) != list(TrafficSource(TrafficMix(), 6).frames(5))


def test_flows_follow_zipf() -> None:
    """With exponent 1 the most frequent of 100 flows has 1/H(100) = 19.3 % of the packets, twice the second's."""
    mix = TrafficMix(flow_count=100, reply_ratio=0.0)
    counts = Counter(parse(frame).flow_key() for frame in TrafficSource(mix, 2).frames(5000))
    first, second = (count for _, count in counts.most_common(2))
    assert abs(first / 5000 - 0.193) < 0.02
    assert 1.6 < first / second < 2.5


def test_shares_of_protocols_and_directions() -> None:
    mix = TrafficMix(flow_count=3000, zipf_exponent=0.0, ipv6_ratio=0.25, tcp_ratio=0.7, reply_ratio=0.4)
    packets = [parse(frame) for frame in TrafficSource(mix, 2).frames(3000)]
    assert abs(sum(packet.ip_version == 6 for packet in packets) / 3000 - 0.25) < 0.03
    assert abs(sum(packet.proto == TCP for packet in packets) / 3000 - 0.7) < 0.03
    assert all(packet.proto in (TCP, UDP) and are_checksums_right(packet) for packet in packets)
    client = bytes((0x0A, 0x01))
    v4 = [packet for packet in packets if packet.ip_version == 4]
    assert abs(sum(packet.addresses()[4:6] == client for packet in v4) / len(v4) - 0.4) < 0.04


def test_arrivals_have_the_rate() -> None:
    times = [at_us for at_us, _ in TrafficSource(TrafficMix(flow_count=5), 1).timed(3000, 10_000.0, 500)]
    assert times == sorted(times)
    assert times[0] >= 500
    assert abs((times[-1] - times[0]) / 3000 - 100.0) < 8.0


def test_texts_begin_payloads() -> None:
    mix = TrafficMix(texts=(b"GET /",), text_ratio=0.5)
    packets = [parse(frame) for frame in TrafficSource(mix, 1).frames(400)]
    starting = sum(bytes(packet.data[packet.payload :]).startswith(b"GET /") for packet in packets)
    assert 150 < starting < 250


def test_every_oddity_happens() -> None:
    packets = [
        parse(frame) for frame in TrafficSource(TrafficMix(odd_ratio=1.0, ipv6_ratio=0.5), 1).frames(1500)
    ]
    kinds = {
        "tag": any(packet.vlan for packet in packets),
        "icmp": any(packet.proto == ICMP for packet in packets),
        "no transport": any(packet.proto == 132 for packet in packets),
        "no checksum": any(packet.proto == UDP and packet.l4 and not packet.l4_sum for packet in packets),
        "not IP": any(not packet.ip_version for packet in packets),
        "broken": any(packet.is_broken for packet in packets),
        "padding": any(packet.end < len(packet.data) for packet in packets if packet.ip_version),
        "first fragment": any(packet.is_fragment and packet.l4 for packet in packets),
        "later fragment": any(packet.is_later_fragment and packet.ip_version == 4 for packet in packets),
        "later fragment 6": any(packet.is_later_fragment and packet.ip_version == 6 for packet in packets),
        "options": any(packet.ip_version == 4 and packet.data[packet.l3] > 0x45 for packet in packets),
        "extensions": any(packet.ip_version == 6 and packet.l4 > packet.l3 + 60 for packet in packets),
    }
    assert all(kinds.values()), kinds
