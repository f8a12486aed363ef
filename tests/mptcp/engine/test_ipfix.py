"""IPFIX messages: templates, pieces of packets, times, and broken ones."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.mptcp.engine import ipfix
from apps.mptcp.engine.ipfix import IpfixDecoder
from tests.mptcp.engine.decoder_twin import Frame, Row
from tests.mptcp.engine.decoding import rows_of, twin_rows
from tests.mptcp.engine.packet_strategies import any_frames
from tests.support import mptcp_containers as make
from tests.support import mptcp_packets as packets

SEGMENT = packets.Segment(options=packets.dss(ack=1, dsn=2), payload=b"abcd" * 300)
DATA = packets.frame(SEGMENT)[:128]
PACKET = packets.ip_bytes(SEGMENT)[:114]
VARIABLE = 65535


def decoded(*messages: bytes) -> tuple[list[Row], IpfixDecoder]:
    """Return the rows of messages of one exporter that came at time 9."""
    decoder = IpfixDecoder()
    rows = [row for message in messages for row in rows_of(decoder.feed(message, "192.0.2.9", 9, 2))]
    return rows, decoder


def expected(data: bytes, link: int = 1, at_us: int = 9, wire: int | None = None) -> list[Row]:
    """Return the twin's rows of one frame."""
    return twin_rows([Frame(data, len(data) if wire is None else wire, link, at_us, 2)])


def one_record(fields: list[tuple[int, int]], body: bytes, pad: int = 0) -> bytes:
    """Return a message with a template and a record of it."""
    return make.ipfix([make.ipfix_set(2, make.ipfix_template(300, fields)), make.ipfix_set(300, body, pad)])


@pytest.mark.parametrize("is_long", [False, True])
def test_a_frame_of_variable_length(is_long: bool) -> None:
    rows, decoder = decoded(one_record([(315, VARIABLE)], make.ipfix_variable(DATA, is_long)))
    assert rows == expected(DATA)
    assert rows[0]["payload_bytes"] == 1200
    report = decoder.report
    assert (report.input_format, report.row_count, report.malformed) == ("ipfix", 1, {})


def test_a_packet_of_fixed_length_with_padding_and_fields_around() -> None:
    fields = [(0x8000 | 7, 3), (313, len(PACKET)), (305, 4), (0x8000 | 8, VARIABLE)]
    body = b"abc" + PACKET + bytes(4) + make.ipfix_variable(b"xyz")
    rows, _ = decoded(one_record(fields, body * 2, pad=3))
    assert rows == expected(PACKET, 101) * 2


@pytest.mark.parametrize(
    ("element", "value", "at_us"),
    [
        (322, struct.pack(">I", 1_700_000_000), 1_700_000_000_000_000),
        (323, struct.pack(">Q", 1_700_000_000_123), 1_700_000_000_123_000),
        (324, struct.pack(">II", 1_700_000_000 + 2_208_988_800, 1 << 31), 1_700_000_000_500_000),
        (325, struct.pack(">II", 1_700_000_000 + 2_208_988_800, 1 << 30), 1_700_000_000_250_000),
        (323, b"\xff" * 8, 1 << 62),
    ],
)
def test_observation_times(element: int, value: bytes, at_us: int) -> None:
    rows, decoder = decoded(
        one_record([(element, len(value)), (315, VARIABLE)], value + make.ipfix_variable(DATA))
    )
    assert rows == expected(DATA, at_us=at_us)
    assert decoder.report.first_us == decoder.report.last_us == at_us


def test_length_on_the_wire_counts_where_the_packet_says_none() -> None:
    data = packets.frame(SEGMENT.but(zero_ip_length=True))[:128]
    body = struct.pack(">H", 9000) + make.ipfix_variable(data)
    rows, _ = decoded(one_record([(312, 2), (315, VARIABLE)], body))
    assert rows == expected(data, wire=9000)


def test_frames_that_are_not_ethernet_are_passed_over() -> None:
    rows, decoder = decoded(one_record([(408, 2), (315, VARIABLE)], b"\0\2" + make.ipfix_variable(DATA)))
    assert (rows, decoder.report.passed_over) == ([], {"frame_type": 1})


def test_templates_belong_to_exporter_and_domain_and_can_change() -> None:
    decoder = IpfixDecoder()
    learn = make.ipfix([make.ipfix_set(2, make.ipfix_template(300, [(315, VARIABLE)]))])
    data = make.ipfix([make.ipfix_set(300, make.ipfix_variable(DATA))])
    assert len(decoder.feed(data, "a", 0)) == 0
    decoder.feed(learn, "a", 0)
    assert len(decoder.feed(data, "a", 0)) == 1
    assert len(decoder.feed(data, "b", 0)) == 0
    other_domain = make.ipfix([make.ipfix_set(300, make.ipfix_variable(DATA))], domain=2)
    assert len(decoder.feed(other_domain, "a", 0)) == 0
    decoder.feed(make.ipfix([make.ipfix_set(2, make.ipfix_template(300, [(1, 8)]))]), "a", 0)
    assert len(decoder.feed(data, "a", 0)) == 0
    assert decoder.report.passed_over == {"unknown_template": 3, "no_packet_section": (1 + len(DATA)) // 8}
    decoder.feed(make.ipfix([make.ipfix_set(2, make.ipfix_template(300, []))]), "a", 0)
    assert decoder.template_count == 0


def test_all_templates_can_be_withdrawn_and_options_are_passed_over() -> None:
    options = make.ipfix_set(3, make.ipfix_template(301, [(144, 4), (305, 4)], scopes=1))
    learn = make.ipfix_set(2, make.ipfix_template(300, [(315, VARIABLE)]))
    decoder = IpfixDecoder()
    decoder.feed(make.ipfix([options, learn, make.ipfix_set(301, bytes(8))]), "a", 0)
    assert (decoder.template_count, decoder.report.passed_over) == (2, {"options_record": 1})
    decoder.feed(make.ipfix([make.ipfix_set(2, make.ipfix_template(2, []))]), "a", 0)
    assert decoder.template_count == 1


def test_broken_messages_are_counted_by_kind() -> None:
    good = one_record([(315, VARIABLE)], make.ipfix_variable(DATA))
    cases = {
        "version": make.ipfix([], version=9),
        "message": good[:-1],
        "template": make.ipfix([make.ipfix_set(2, make.ipfix_template(300, [(315, 0)]))]),
        "set": one_record([(315, VARIABLE)], b"\xff\xff\xff" + DATA),
    }
    for kind, message in cases.items():
        rows, decoder = decoded(message)
        assert (rows, decoder.report.malformed) == ([], {kind: 1})
    too_long = make.ipfix_template(300, [(1, 1)] * (ipfix.FIELDS_MAX + 1))
    assert decoded(make.ipfix([make.ipfix_set(2, too_long)]))[1].report.malformed == {"template": 1}


def test_templates_and_domains_are_bounded() -> None:
    decoder = IpfixDecoder()
    for domain in range(ipfix.DOMAINS_MAX + 5):
        learn = [
            make.ipfix_template(256 + number, [(315, VARIABLE)]) for number in range(ipfix.TEMPLATES_MAX + 9)
        ]
        decoder.feed(make.ipfix([make.ipfix_set(2, b"".join(learn))], domain), "a", 0)
    assert decoder.template_count == ipfix.DOMAINS_MAX * ipfix.TEMPLATES_MAX
    data = make.ipfix_set(256 + ipfix.TEMPLATES_MAX, make.ipfix_variable(DATA))
    assert len(decoder.feed(make.ipfix([data], ipfix.DOMAINS_MAX + 4), "a", 0)) == 1
    assert len(decoder.feed(make.ipfix([data], 0), "a", 0)) == 0


@settings(max_examples=100, deadline=None)
@given(st.lists(any_frames(), max_size=5))
def test_any_frames_like_the_twin(frames: list[Frame]) -> None:
    body = b"".join(
        struct.pack(">QI", 7, frame.wire) + make.ipfix_variable(frame.data, len(frame.data) > 100)
        for frame in frames
    )
    rows, _ = decoded(one_record([(323, 8), (312, 4), (315, VARIABLE)], body))
    assert rows == twin_rows(Frame(frame.data, frame.wire, 1, 7000, 2) for frame in frames)


@settings(max_examples=200, deadline=None)
@given(
    st.binary(max_size=300),
    st.integers(0, 400),
    st.lists(st.tuples(st.integers(0, 300), st.integers(0, 255))),
)
def test_broken_bytes_never_raise(noise: bytes, kept: int, changes: list[tuple[int, int]]) -> None:
    good = one_record([(323, 8), (0x8007, 4), (315, VARIABLE)], (bytes(12) + make.ipfix_variable(DATA)) * 2)
    data = bytearray(good[:kept] + noise)
    for place, value in changes:
        if place < len(data):
            data[place] = value
    rows, decoder = decoded(bytes(data))
    assert len(rows) == decoder.report.row_count
    assert decoder.report.byte_count == len(data)
