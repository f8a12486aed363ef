"""The frame decoder against its twin, and what the twin cannot know: the values put in."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.mptcp.engine.frames import FrameDecoder
from apps.mptcp.engine.records import Has, address_halves
from tests.mptcp.engine.decoder_twin import Frame, Row, row_of
from tests.mptcp.engine.decoding import decode_frames, twin_rows
from tests.mptcp.engine.packet_strategies import any_frames, whole_frames
from tests.support import mptcp_packets as make

V6 = make.Segment(src="2001:db8::1", dst="2001:db8::2")


def decoded(segment: make.Segment, link: str = "ethernet") -> Row:
    """Return the one row of a segment, after the twin agreed."""
    number, data = make.in_link(make.ip_bytes(segment), link)
    frame = Frame(data, len(data), number, 77, 3)
    rows, _ = decode_frames([frame])
    assert rows == twin_rows([frame])
    assert len(rows) == 1
    return rows[0]


@pytest.mark.parametrize("link", make.LINKS)
@pytest.mark.parametrize("segment", [make.Segment(), V6], ids=["ipv4", "ipv6"])
def test_every_link_layer_leads_to_the_same_row(link: str, segment: make.Segment) -> None:
    segment = segment.but(
        seq=2**32 - 1, ack=7, flags=make.ACK | make.PSH, payload=b"abc",
        options=make.dss(ack=2**64 - 2, dsn=2**64 - 1, ssn=9, map_bytes=3),
    )  # fmt: skip
    row = decoded(segment, link)
    assert (row["src_hi"], row["src_lo"]) == address_halves(segment.src)
    assert (row["dst_hi"], row["dst_lo"]) == address_halves(segment.dst)
    assert (row["src_port"], row["dst_port"], row["at_us"], row["observer"]) == (40000, 443, 77, 3)
    assert (row["seq"], row["ack"], row["tcp_flags"], row["payload_bytes"]) == (2**32 - 1, 7, 0x18, 3)
    assert (row["dsn"], row["data_ack"], row["ssn"], row["map_bytes"]) == (2**64 - 1, 2**64 - 2, 9, 3)
    assert row["has"] == Has.DSN | Has.DSN_64 | Has.DATA_ACK | Has.DATA_ACK_64


ONE_OPTION: list[tuple[str, int, bytes, Has, dict[str, int]]] = [
    ("v1 opening", make.SYN, make.capable(), Has.CAPABLE, {"version": 1}),
    ("v1 reply", 18, make.capable(key=5), Has.CAPABLE | Has.KEY, {"version": 1, "key": 5}),
    ("v0 opening", 2, make.capable(0, key=5), Has.CAPABLE | Has.KEY, {"version": 0, "key": 5}),
    ("third", 16, make.capable(key=5, peer_key=6), Has.CAPABLE | Has.KEY | Has.PEER_KEY, {"key": 5, "peer_key": 6}),
    ("with data", 24, make.capable(key=5, peer_key=6, map_bytes=1000),
     Has.CAPABLE | Has.KEY | Has.PEER_KEY | Has.CAPABLE_MAP, {"ssn": 1, "map_bytes": 1000, "dsn": 0}),
    ("with data and checksum", 24, make.capable(key=5, peer_key=6, map_bytes=1000, checksum=True),
     Has.CAPABLE | Has.KEY | Has.PEER_KEY | Has.CAPABLE_MAP, {"ssn": 1, "map_bytes": 1000}),
    ("mirrored keys", 16, make.capable(key=5, peer_key=5), Has.MALFORMED, {"key": 0, "peer_key": 0}),
    ("mirrored opening", 18, make.capable(), Has.MALFORMED, {}),
    ("mirrored join", 18, make.join_syn(7, 8), Has.MALFORMED, {"token": 0}),
    ("join", 2, make.join_syn(7, 8, 3, backup=True), Has.JOIN | Has.TOKEN | Has.BACKUP,
     {"token": 7, "nonce": 8, "address_id": 3}),
    ("join reply", 18, make.join_syn_ack(8, 3), Has.JOIN, {"nonce": 8, "address_id": 3, "token": 0}),
    ("join third", 16, make.join_ack(), Has.JOIN, {}),
    ("data fin alone", 16, make.dss(dsn=9, map_bytes=1, fin=True),
     Has.DSN | Has.DSN_64 | Has.DATA_FIN, {"dsn": 9, "ssn": 0, "map_bytes": 1}),
    ("infinite", 16, make.dss(dsn=9, dsn_bytes=4, ssn=3), Has.DSN, {"dsn": 9, "ssn": 3, "map_bytes": 0}),
    ("echo", 16, make.add_addr(4, "10.1.1.1", echo=True), Has.ADD_ADDR | Has.ADD_ADDR_ECHO,
     {"address_id": 4, "added_lo": address_halves("10.1.1.1")[1], "added_port": 0}),
    ("remove", 16, make.remove_addr(9, 8), Has.REMOVE_ADDR, {"address_id": 9}),
    ("priority", 16, make.prio(True), Has.PRIO | Has.BACKUP, {}),
    ("priority v0", 16, make.prio(False, 4), Has.PRIO, {"address_id": 4}),
    ("fail", 16, make.fail(3), Has.FAIL, {}),
    ("fastclose", 16, make.fastclose(3), Has.FASTCLOSE | Has.PEER_KEY, {"peer_key": 3}),
    ("reset", 4, make.tcprst(), Has.TCPRST, {}),
    ("no mptcp", 2, b"\2\4\5\xb4", Has(0), {}),
]  # fmt: skip


@pytest.mark.parametrize(("flags", "options", "has", "columns"), [case[1:] for case in ONE_OPTION],
                         ids=[case[0] for case in ONE_OPTION])  # fmt: skip
def test_an_option_becomes_its_columns(flags: int, options: bytes, has: Has, columns: Row) -> None:
    row = decoded(make.Segment(flags=flags, options=options))
    assert Has(row["has"]) == has
    assert {name: row[name] for name in columns} == columns


@pytest.mark.parametrize(
    ("address", "port", "echo", "version"),
    [*product(["10.1.1.1", "2001:db8::9"], [0, 8080], [False, True], [1]),
     *product(["10.1.1.1", "2001:db8::9"], [0, 8080], [False], [0])],
)  # fmt: skip
def test_every_form_of_add_addr(address: str, port: int, echo: bool, version: int) -> None:
    row = decoded(make.Segment(options=make.add_addr(4, address, port, echo, version)))
    assert (row["added_hi"], row["added_lo"]) == address_halves(address)
    assert (row["address_id"], row["added_port"]) == (4, port)
    assert Has(row["has"]) == Has.ADD_ADDR | (Has.ADD_ADDR_ECHO if echo else Has(0))


@pytest.mark.parametrize(
    ("ack", "ack_bytes", "dsn", "dsn_bytes", "fin", "checksum"),
    list(product([None, 0x89ABCDEF], [4, 8], [None, 0xFEDCBA98], [4, 8], [False, True], [False, True])),
)
def test_every_form_of_dss(
    ack: int | None, ack_bytes: int, dsn: int | None, dsn_bytes: int, fin: bool, checksum: bool
) -> None:
    row = decoded(make.Segment(options=make.dss(ack, ack_bytes, dsn, dsn_bytes, 5, 6, fin, checksum)))
    expected = Has(0)
    if ack is not None:
        expected |= Has.DATA_ACK | (Has.DATA_ACK_64 if ack_bytes == 8 else Has(0))
        assert row["data_ack"] == ack
    if dsn is not None:
        expected |= Has.DSN | (Has.DSN_64 if dsn_bytes == 8 else Has(0)) | (Has.DATA_FIN if fin else Has(0))
        assert (row["dsn"], row["ssn"], row["map_bytes"]) == (dsn, 5, 6)
    assert Has(row["has"]) == expected


def test_several_options_in_one_packet_all_count() -> None:
    options = make.prio(True) + b"\1" + make.add_addr(4, "10.1.1.1", 80) + make.dss(ack=1, ack_bytes=4)
    row = decoded(make.Segment(options=options))
    assert Has(row["has"]) == Has.PRIO | Has.BACKUP | Has.ADD_ADDR | Has.DATA_ACK
    assert (row["address_id"], row["data_ack"]) == (4, 1)


def test_of_an_option_that_comes_twice_the_first_counts() -> None:
    row = decoded(make.Segment(options=make.add_addr(4, "10.1.1.1") + make.remove_addr(9)))
    assert (Has(row["has"]), row["address_id"]) == (Has.ADD_ADDR, 4)
    row = decoded(make.Segment(options=make.dss(dsn=1) + make.dss(dsn=2, dsn_bytes=4)))
    assert (row["dsn"], Has(row["has"])) == (1, Has.DSN | Has.DSN_64)


def test_payload_is_counted_by_the_ip_header_not_by_padding_or_capture() -> None:
    data = make.frame(make.Segment(flags=make.SYN, payload=b"x" * 1400))
    assert decode_frames([Frame(data[:60], len(data))])[0][0]["payload_bytes"] == 1400
    data = make.frame(make.Segment(flags=make.SYN)) + bytes(6)
    assert decode_frames([Frame(data, len(data))])[0][0]["payload_bytes"] == 0
    # Captured before segmentation: the IP header says 0.
    data = make.frame(make.Segment(flags=make.SYN, payload=b"x" * 99, zero_ip_length=True))
    assert decode_frames([Frame(data[:70], 70_000)])[0][0]["payload_bytes"] == 70_000 - 54


def test_plain_packets_and_later_fragments_make_no_row_and_are_counted() -> None:
    segments = [make.Segment(), make.Segment(flags=2, fragment_offset=8), make.Segment(flags=2)]
    frames = [Frame(data, len(data)) for data in map(make.frame, segments)]
    rows, decoder = decode_frames(frames)
    assert len(rows) == 1
    assert (decoder.frame_count, decoder.tcp_count, decoder.mptcp_count) == (3, 2, 0)
    assert decoder.passed_over == {"later_fragment": 1}


def test_cut_options_are_marked_at_every_length() -> None:
    data = make.frame(make.Segment(options=make.add_addr(4, "10.1.1.1") + make.dss(1, 4, 2, 4)))
    frames = [Frame(data[:size], len(data)) for size in range(len(data) + 1)]
    rows, decoder = decode_frames(frames)
    assert rows == twin_rows(frames)
    marked = [bool(row["has"] & Has.TRUNCATED) for row in rows]
    # The first kind is byte 54. Of the two bytes of padding the first, end of options, says that nothing is missing.
    assert marked == [True] * (len(data) - 56) + [False, False]
    assert decoder.truncated_count == len(data) - 1


def test_every_subtype_with_every_length_and_both_roles() -> None:
    frames = []
    for subtype, size, flags, low in product(range(16), range(41), (2, 18, 16), range(8)):
        body = bytes([30, size, subtype << 4 | low, 31 if subtype == 2 else 5])
        body += bytes(range(1, 37))
        data = make.frame(make.Segment(flags=flags, options=body))
        frames.append(Frame(data, len(data)))
    rows, decoder = decode_frames(frames)
    assert rows == twin_rows(frames)
    assert decoder.frame_count == decoder.tcp_count == len(frames) == 16 * 41 * 3 * 8


def test_every_option_kind_with_every_length() -> None:
    frames = []
    for kind, size in product(range(256), range(41)):
        data = make.frame(make.Segment(flags=2, options=bytes([kind, size]) + bytes(range(38))))
        frames.append(Frame(data, len(data)))
    rows, _ = decode_frames(frames)
    assert rows == twin_rows(frames)


def test_every_flag_byte_of_dss_with_every_length() -> None:
    frames = []
    for bits, size in product(range(256), range(41)):
        options = bytes([30, size, 0x20, bits]) + bytes(range(1, 37))
        data = make.frame(make.Segment(options=options))
        frames.append(Frame(data, len(data)))
    rows, _ = decode_frames(frames)
    assert rows == twin_rows(frames)


@settings(max_examples=150, deadline=None)
@given(st.lists(whole_frames(), max_size=8))
def test_whole_packets_like_the_twin(frames: list[Frame]) -> None:
    assert decode_frames(frames)[0] == twin_rows(frames)


@settings(max_examples=250, deadline=None)
@given(st.lists(any_frames(), max_size=8))
def test_broken_packets_like_the_twin(frames: list[Frame]) -> None:
    rows, decoder = decode_frames(frames)
    assert rows == twin_rows(frames)
    assert decoder.frame_count == len(frames)


@settings(max_examples=60, deadline=None)
@given(whole_frames())
def test_a_packet_cut_at_every_length_like_the_twin(frame: Frame) -> None:
    frames = [frame._replace(data=frame.data[:size]) for size in range(len(frame.data) + 1)]
    assert decode_frames(frames)[0] == twin_rows(frames)


@settings(max_examples=60, deadline=None)
@given(whole_frames())
def test_a_frame_says_the_same_alone_and_among_others(frame: Frame) -> None:
    alone = row_of(frame)
    assert decode_frames([frame] * 3)[0] == ([alone] * 3 if alone else [])


def test_few_rows_of_many_frames_keep_no_room_for_all() -> None:
    plain, syn = make.frame(make.Segment()), make.frame(make.Segment(flags=make.SYN))
    data = np.frombuffer(plain * 99 + syn, np.uint8)
    table = np.zeros((100, 5), np.int64)
    table[:, 0] = np.arange(100) * len(plain)
    table[:, 1:3], table[:, 3] = len(plain), 1
    records = FrameDecoder().decode(data, table)
    assert (len(records), records.tcp_flags.tolist()) == (1, [make.SYN])
    assert records.array.base is None
