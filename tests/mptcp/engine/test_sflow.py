"""sFlow datagrams: what is in them, and what broken ones are counted as."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.mptcp.engine import sflow
from apps.mptcp.engine.records import PacketRecords
from apps.mptcp.engine.sflow import SflowDecoder
from tests.mptcp.engine.decoder_twin import Frame, Row
from tests.mptcp.engine.decoding import rows_of, twin_rows
from tests.mptcp.engine.packet_strategies import any_frames
from tests.support import mptcp_containers as make
from tests.support import mptcp_packets as packets
from tests.support.mptcp_containers import Seen

DATA = packets.frame(packets.Segment(options=packets.dss(ack=1, dsn=2), payload=b"abcd" * 300))
SEEN = Seen(0, DATA).cut(128)


def decoded(datagram: bytes) -> tuple[list[Row], SflowDecoder]:
    """Return the rows of one datagram that came at time 9 from observation point 2."""
    decoder = SflowDecoder()
    return rows_of(decoder.feed(datagram, 9, 2)), decoder


def expected(*seen: Seen) -> list[Row]:
    """Return the twin's rows."""
    return twin_rows(Frame(one.data, one.size, one.link, 9, 2) for one in seen)


@pytest.mark.parametrize("is_expanded", [False, True])
@pytest.mark.parametrize("agent", ["192.0.2.7", "2001:db8::7"])
def test_samples_of_both_forms(agent: str, is_expanded: bool) -> None:
    sample = make.sflow_sample([make.sflow_raw_header(SEEN)], 400, 3, 17, is_expanded)
    rows, decoder = decoded(make.sflow([sample, sample], agent))
    assert rows == expected(SEEN, SEEN)
    assert rows[0]["payload_bytes"] == 1200
    assert decoder.sources == (sflow.SflowSource(agent, 3, 400, 17, 2),)
    report = decoder.report
    assert (report.input_format, report.packet_count, report.row_count) == ("sflow", 2, 2)
    assert (report.first_us, report.last_us, report.malformed, report.link_types) == (9, 9, {}, {1: 2})


def test_what_is_not_ours_is_passed_over_by_its_length() -> None:
    samples = [
        make.xdr(2, bytes(20)),
        make.xdr(0x1234567, bytes(7)),
        make.sflow_sample([make.xdr(1001, bytes(16)), make.sflow_raw_header(SEEN)]),
        make.sflow_sample([make.sflow_raw_header(SEEN, protocol=3)]),
    ]
    rows, decoder = decoded(make.sflow(samples))
    assert rows == expected(SEEN)
    assert decoder.report.passed_over == {
        "counter_sample": 1, "other_sample": 1, "other_flow_record": 1, "header_protocol": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("protocol", "link"), [(11, "ip"), (12, "ip"), (7, "ppp"), (7, "ppp_bare"), (14, "ppp")]
)
def test_other_header_protocols(protocol: int, link: str) -> None:
    segment = packets.Segment(flags=2)
    if protocol == 12:
        segment = segment.but(src="2001:db8::1", dst="2001:db8::2")
    number, data = packets.in_link(packets.ip_bytes(segment), link)
    rows, _ = decoded(make.sflow([make.sflow_sample([make.sflow_raw_header(Seen(0, data), protocol)])]))
    assert rows == expected(Seen(0, data, number))


def test_broken_datagrams_are_counted_by_kind() -> None:
    sample = make.sflow_sample([make.sflow_raw_header(SEEN)])
    good = make.sflow([sample, sample])
    assert decoded(make.sflow([sample], version=4))[1].report.malformed == {"version": 1}
    assert decoded(good[:4] + b"\0\0\0\3" + good[8:])[1].report.malformed == {"agent_address": 1}
    rows, decoder = decoded(good[:-3])
    assert rows == expected(SEEN)
    assert decoder.report.malformed == {"datagram": 1}
    # A record's length leads out of its sample: the next sample is still read.
    broken = bytearray(good)
    broken[28 + 8 + 32 + 4] = 0xFF
    rows, decoder = decoded(bytes(broken))
    assert rows == expected(SEEN)
    assert decoder.report.malformed == {"sample": 1}


def test_sources_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sflow, "SOURCES_MAX", 3)
    decoder = SflowDecoder()
    for source in (1, 2, 3, 1, 4):
        decoder.feed(make.sflow([make.sflow_sample([], source=source)]), 0)
    assert [one.source for one in decoder.sources] == [3, 1, 4]


def test_a_huge_count_of_samples_ends_with_the_bytes() -> None:
    data = make.sflow([])
    _, decoder = decoded(data[:-4] + b"\xff\xff\xff\xff" + bytes(64_000))
    assert decoder.report.malformed == {"datagram": 1}


@settings(max_examples=100, deadline=None)
@given(st.lists(any_frames(), max_size=5), st.booleans())
def test_any_frames_like_the_twin(frames: list[Frame], is_expanded: bool) -> None:
    seen = [Seen(9, frame.data, 1, frame.wire) for frame in frames]
    samples = [make.sflow_sample([make.sflow_raw_header(one)], is_expanded=is_expanded) for one in seen]
    assert decoded(make.sflow(samples))[0] == expected(*seen)


@settings(max_examples=200, deadline=None)
@given(
    st.binary(max_size=300),
    st.integers(0, 400),
    st.lists(st.tuples(st.integers(0, 300), st.integers(0, 255))),
)
def test_broken_bytes_never_raise(noise: bytes, kept: int, changes: list[tuple[int, int]]) -> None:
    sample = make.sflow_sample([make.sflow_raw_header(SEEN)])
    data = bytearray(make.sflow([sample, make.xdr(2, bytes(8)), sample])[:kept] + noise)
    for place, value in changes:
        if place < len(data):
            data[place] = value
    rows, decoder = decoded(bytes(data))
    assert len(rows) == decoder.report.row_count <= decoder.report.packet_count
    assert decoder.report.byte_count == len(data)


def test_cut_at_every_length() -> None:
    sample = make.sflow_sample([make.sflow_raw_header(SEEN)])
    good = make.sflow([sample, sample])
    for size in range(len(good)):
        rows, decoder = decoded(good[:size])
        assert len(rows) == max(0, (size - 28) // len(sample))
        assert decoder.report.malformed == {"datagram": 1}
    assert isinstance(SflowDecoder().feed(b"", 0), PacketRecords)
