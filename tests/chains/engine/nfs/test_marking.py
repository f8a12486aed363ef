"""Monitor, rate limiter, header enrichment, VPN."""

import pytest

from apps.chains.engine.fields import Field
from apps.chains.engine.nfs.header_enrichment import HeaderEnrichment
from apps.chains.engine.nfs.monitor import Monitor
from apps.chains.engine.nfs.rate_limiter import RateLimiter
from apps.chains.engine.nfs.vpn import Vpn, open_sealed
from apps.chains.engine.packet import parse
from tests.chains.engine.nf_cases import timed_frames
from tests.chains.engine.nfs.making import packet

KEY = "sixteen and more"


def test_monitor_counts_per_flow_even_from_headers() -> None:
    nf = Monitor({"flows_max": 2})
    one, other = packet("10.0.0.1", "1.1.1.1", payload=b"x" * 100), packet("10.0.0.2", "1.1.1.1")
    nf.process(one, 5)
    nf.process(one.header_copy(), 9)
    nf.process(other, 9)
    assert nf.state() == {
        "flows": [[one.flow_key().hex(), 2, 280, 5, 9], [other.flow_key().hex(), 1, 40, 9, 9]],
        "exported": 0,
    }
    nf.process(packet("10.0.0.3", "1.1.1.1"), 10)
    assert nf.state()["exported"] == 1
    assert nf.counters == {"packets": 4, "bytes": 360}


def test_rate_limiter_passes_the_burst_and_then_the_rate() -> None:
    """1400 bytes every 10 ms are 1.12 Mbit/s; at half of that every second one passes once the burst is used up."""
    nf = RateLimiter({"rate_bps": 560_000, "burst_bytes": 4200})
    one = packet("10.0.0.1", "1.1.1.1", payload=b"x" * 1360)
    passed = [nf.process(one, at * 10_000) for at in range(1, 101)]
    assert passed[:5] == [True, True, True, True, True]
    assert sum(passed[10:]) == 45
    assert nf.counters["dropped"] == passed.count(False)


def test_rate_limiter_never_exceeds_rate_and_burst() -> None:
    nf = RateLimiter({"rate_bps": 1_000_000, "burst_bytes": 5000})
    frames = timed_frames(1, 600)
    passed = [(at_us, parse(frame)) for at_us, frame in frames if nf.process(parse(frame), at_us)]
    sizes = [(at_us, one.ip_bytes) for at_us, one in passed if one.ip_version]
    for start in range(0, len(sizes), 7):
        total = 0
        for at_us, size in sizes[start:]:
            total += size
            assert total * 8 <= 5000 * 8 + 1.0 * (at_us - sizes[start][0]) + 1


def test_marking_keeps_congestion_bits() -> None:
    nf = HeaderEnrichment({"rules": [{"dscp": 46, "dst_port": 80}], "default": 8})
    for port, dscp in ((80, 46), (81, 8)):
        one = packet("10.0.0.1", "1.1.1.1", 5, port)
        one.set(Field.IP_TOS, 3)
        nf.process(one, 0)
        assert one.get(Field.IP_TOS) == dscp << 2 | 3
    silent, one = HeaderEnrichment({}), packet("10.0.0.1", "1.1.1.1")
    silent.process(one, 0)
    assert one.get(Field.IP_TOS) == 0


def test_what_the_vpn_seals_its_peer_opens() -> None:
    nf = Vpn({"key": KEY})
    for _, frame in timed_frames(4, 150):
        one = parse(frame)
        if not one.ip_version:
            continue
        before = bytes(one.data)
        nf.process(one, 0)
        again = parse(bytes(one.data))
        assert open_sealed(again, KEY)
        assert bytes(again.data) == before


def test_sealed_payloads_are_unreadable_and_never_alike() -> None:
    nf = Vpn({"key": KEY})
    sealed = []
    for _ in range(2):
        one = packet("10.0.0.1", "1.1.1.1", payload=b"the same words")
        nf.process(one, 0)
        sealed.append(one.get(Field.PAYLOAD))
    assert sealed[0] != sealed[1]
    assert b"the same words" not in sealed


@pytest.mark.parametrize("at", ["address", "payload", "icv", "sequence"])
def test_a_changed_packet_is_not_opened(at: str) -> None:
    one = packet("10.0.0.1", "1.1.1.1", payload=b"words")
    Vpn({"key": KEY}).process(one, 0)
    offset = {"address": 26, "sequence": 34 + 11, "icv": 34 + 15, "payload": one.payload}[at]
    one.data[offset] ^= 1
    assert not open_sealed(parse(bytes(one.data)), KEY)


def test_another_key_opens_nothing() -> None:
    one = packet("10.0.0.1", "1.1.1.1", payload=b"words")
    Vpn({"key": KEY}).process(one, 0)
    assert not open_sealed(one.copy(), KEY + "!")
    assert not open_sealed(packet("10.0.0.1", "1.1.1.1"), KEY)
