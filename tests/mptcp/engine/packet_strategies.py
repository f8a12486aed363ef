"""Hypothesis strategies of MPTCP packets, legal and broken."""

from hypothesis import strategies as st

from tests.mptcp.engine.decoder_twin import Frame
from tests.support import mptcp_packets as make

u8s = st.integers(0, 255)
u16s = st.integers(0, 65535)
u32s = st.integers(0, 2**32 - 1)
u64s = st.integers(0, 2**64 - 1) | st.sampled_from([0, 1, 2**32 - 1, 2**63, 2**64 - 1])
v4s = st.ip_addresses(v=4).map(str)
v6s = st.ip_addresses(v=6).map(str)
flags = st.integers(0, 255) | st.sampled_from([2, 18, 16, 17, 4])
widths = st.sampled_from([4, 8])

mptcp_options = st.one_of(
    st.builds(make.capable, st.integers(0, 2), st.none()),
    st.builds(make.capable, st.integers(0, 2), u64s),
    st.builds(make.capable, st.integers(0, 2), u64s, u64s, st.none() | u16s, st.booleans()),
    st.builds(make.join_syn, u32s, u32s, u8s, st.booleans()),
    st.builds(make.join_syn_ack, u32s, u8s, st.booleans()),
    st.just(make.join_ack()),
    st.builds(
        lambda ack, aw, dsn, dw, ssn, size, fin, check: make.dss(
            ack if ack is None or aw == 8 else ack & 0xFFFFFFFF, aw,
            dsn if dsn is None or dw == 8 else dsn & 0xFFFFFFFF, dw, ssn, size, fin, check,
        ),
        st.none() | u64s, widths, st.none() | u64s, widths, u32s, u16s, st.booleans(), st.booleans(),
    ),
    st.builds(make.add_addr, u8s, v4s | v6s, u16s, st.booleans(), st.integers(0, 1)),
    st.builds(make.remove_addr, u8s, u8s),
    st.builds(make.prio, st.booleans(), st.none() | u8s),
    st.builds(make.fail, u64s),
    st.builds(make.fastclose, u64s),
    st.builds(make.tcprst, u8s),
    st.builds(make.option, st.integers(9, 15), st.integers(0, 15), st.binary(max_size=6)),
)  # fmt: skip
broken_options = st.builds(
    lambda size, body: bytes([30, size]) + body, st.integers(0, 45), st.binary(max_size=30)
)
other_options = st.sampled_from([b"\1", b"\0", b"\2\4\5\xb4", b"\3\3\7", b"\4\2", b"\x08\x0a" + bytes(8)])


def _fitting(options: list[bytes]) -> bytes:
    found = b""
    for one in options:
        if len(found) + len(one) <= 40:
            found += one
    return found


option_bytes = st.lists(mptcp_options | mptcp_options | other_options | broken_options, max_size=5).map(
    _fitting
)
extensions = st.lists(
    st.one_of(
        st.sampled_from([0, 43, 60, 135, 139]).flatmap(
            lambda kind: st.integers(0, 2).map(lambda n: (kind, bytes([0, n]) + bytes(6 + 8 * n)))
        ),
        st.integers(1, 3).map(lambda n: (51, bytes([0, n]) + bytes((n + 2) * 4 - 2))),
        st.sampled_from([0, 1, 8]).map(lambda low: (44, bytes([0, 0, 0, low]) + bytes(4))),
    ),
    max_size=9,
).map(tuple)


@st.composite
def segments(draw: st.DrawFn) -> make.Segment:
    """Return a segment with any options."""
    addresses = draw(st.sampled_from([v4s, v6s]))
    return make.Segment(
        src=draw(addresses), dst=draw(addresses), src_port=draw(u16s), dst_port=draw(u16s), seq=draw(u32s),
        ack=draw(u32s), flags=draw(flags), options=draw(option_bytes), payload=draw(st.binary(max_size=8)),
        ip_options=draw(st.sampled_from([b"", b"", b"\1\1", bytes(40)])),
        extensions=draw(extensions), fragment_offset=draw(st.sampled_from([0, 0, 0, 0, 8])),
        zero_ip_length=draw(st.sampled_from([False, False, False, True])),
    )  # fmt: skip


@st.composite
def whole_frames(draw: st.DrawFn) -> Frame:
    """Return a frame of any link layer, nothing cut off."""
    number, data = make.in_link(make.ip_bytes(draw(segments())), draw(st.sampled_from(make.LINKS)))
    return Frame(data, len(data), number, draw(st.integers(0, 2**40)))


@st.composite
def any_frames(draw: st.DrawFn) -> Frame:
    """Return a frame that may be cut off, have flipped bits, or be noise."""
    if draw(st.integers(0, 9)) == 0:
        data = draw(st.binary(max_size=120))
        return Frame(data, draw(st.integers(0, 2000)), draw(st.sampled_from([0, 1, 9, 51, 101, 113, 276, 7])))
    frame = draw(whole_frames())
    data = bytearray(frame.data)
    for _ in range(draw(st.integers(0, 3))):
        data[draw(st.integers(0, len(data) - 1))] ^= 1 << draw(st.integers(0, 7))
    kept = draw(st.integers(0, len(data)) | st.just(len(data)))
    return frame._replace(data=bytes(data[:kept]))
