"""Nearly all packets are read in a shorter way: it must say the same, and must be taken."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from apps.mptcp.engine.frame_counts import COUNT_KINDS
from apps.mptcp.engine.frame_kernel import FRAME_FIELDS, read_usual_frames
from apps.mptcp.engine.records import RECORD
from tests.mptcp.engine.decoder_twin import Frame
from tests.mptcp.engine.decoding import decode_frames, twin_rows
from tests.mptcp.engine.packet_strategies import u8s, u16s, u32s, v4s
from tests.support import mptcp_packets as make

TIMESTAMP = b"\1\1\x08\x0a" + bytes(range(8))
ENDS = (b"", b"\1\1", b"\0\0", b"\1\0", b"\1" * 4, b"\4\2", b"\1\1\1")


@njit
def usual_count(b, frames, rows, counts):  # type: ignore[no-untyped-def]  # as compiled code sees it
    """Return how many of the first frames are read in the shorter way."""
    return read_usual_frames(b, frames, 0, 7, rows, 0, counts)


def is_usual(data: bytes) -> bool:
    """Return whether a frame is read in the shorter way."""
    frames = np.array([[0, len(data), len(data), 1, 5]], np.int64)
    assert frames.shape[1] == FRAME_FIELDS
    counts = np.zeros(COUNT_KINDS, np.int64)
    return bool(usual_count(np.frombuffer(data, np.uint8), frames, np.empty(1, RECORD), counts))


@pytest.mark.parametrize("end", ENDS)
def test_every_flag_and_length_behind_a_timestamp_like_the_twin(end: bytes) -> None:
    frames = []
    for bits, size in product(range(64), range(41)):
        signal = (bytes([30, size, 0x20, bits]) + bytes(range(1, 37)))[: max(size, 2)]
        data = make.frame(make.Segment(options=(TIMESTAMP + signal + end)[:40], payload=b"abc"))
        frames.append(Frame(data, len(data)))
    rows, decoder = decode_frames(frames)
    assert rows == twin_rows(frames)
    assert decoder.frame_count == decoder.tcp_count == len(frames)


@pytest.mark.parametrize(
    ("ack_bytes", "dsn", "dsn_bytes", "fin", "checksum"),
    list(product([4, 8], [None, 0xFEDCBA98], [4, 8], [False, True], [False, True])),
)
def test_data_sequence_signals_behind_a_timestamp_are_usual(
    ack_bytes: int, dsn: int | None, dsn_bytes: int, fin: bool, checksum: bool
) -> None:
    signal = make.dss(0x89ABCDEF, ack_bytes, dsn, dsn_bytes, 5, 6, fin, checksum)
    padding = b"\1" * (-len(signal) % 4)
    assert is_usual(make.frame(make.Segment(options=TIMESTAMP + signal + padding)))


@pytest.mark.parametrize(
    "segment",
    [
        make.Segment(options=make.dss(1)),
        make.Segment(options=TIMESTAMP + make.capable(1, 5, 6)),
        make.Segment(options=TIMESTAMP + make.dss(1), ip_options=b"\1" * 4),
        make.Segment(options=TIMESTAMP + make.dss(1), src="2001:db8::1", dst="2001:db8::2"),
        make.Segment(options=TIMESTAMP + make.dss(1), fragment_offset=8),
        make.Segment(options=TIMESTAMP + make.dss(1), zero_ip_length=True),
    ],
)
def test_others_are_not(segment: make.Segment) -> None:
    assert not is_usual(make.frame(segment))


@st.composite
def nearly_usual(draw: st.DrawFn) -> Frame:
    """Return a packet of the usual form with a few flipped bits, perhaps cut off."""
    signal = make.dss(
        draw(st.none() | u32s), draw(st.sampled_from([4, 8])), draw(st.none() | u32s), draw(st.sampled_from([4, 8])),
        draw(u32s), draw(u16s), draw(st.booleans()), draw(st.booleans()),
    )  # fmt: skip
    segment = make.Segment(
        src=draw(v4s), dst=draw(v4s), src_port=draw(u16s), dst_port=draw(u16s), seq=draw(u32s), ack=draw(u32s),
        flags=draw(u8s), options=(TIMESTAMP + signal + draw(st.sampled_from(ENDS)))[:40],
        payload=draw(st.binary(max_size=4)),
    )  # fmt: skip
    data = bytearray(make.frame(segment))
    for _ in range(draw(st.integers(0, 2))):
        data[draw(st.integers(12, len(data) - 1))] ^= 1 << draw(st.integers(0, 7))
    kept = draw(st.integers(0, len(data)) | st.just(len(data)) | st.just(len(data)))
    return Frame(bytes(data[:kept]), len(data), 1, draw(st.integers(0, 2**40)))


@settings(max_examples=200)
@given(st.lists(nearly_usual(), max_size=8))
def test_packets_of_nearly_the_usual_form_like_the_twin(frames: list[Frame]) -> None:
    rows, decoder = decode_frames(frames)
    assert rows == twin_rows(frames)
    assert decoder.frame_count == len(frames)
