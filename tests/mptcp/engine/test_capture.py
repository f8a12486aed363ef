"""Capture files: formats, orders, clocks, chunks, damage."""

import io
import struct
import tracemalloc
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.mptcp.engine import container_kernel, frame_kernel
from apps.mptcp.engine.capture import CHUNK_BYTES, CaptureDecoder, read_capture, warm_up
from apps.mptcp.engine.records import PacketRecords
from tests.mptcp.engine.decoder_twin import Frame
from tests.mptcp.engine.decoding import capture_rows, rows_of, twin_rows
from tests.mptcp.engine.packet_strategies import any_frames
from tests.support import mptcp_containers as make
from tests.support import mptcp_packets as packets
from tests.support.mptcp_containers import Seen

DATA = packets.frame(packets.Segment(options=packets.dss(ack=1, dsn=2), payload=b"abcd"))
FRAMES = [Seen(1_700_000_000_000_000 + index, DATA) for index in range(5)]


def seen_frames(link: int | None = None) -> st.SearchStrategy[list[Seen]]:
    """Return lists of frames, of one link type or of any."""
    one = any_frames().map(
        lambda frame: Seen(frame.at_us, frame.data, frame.link if link is None else link, frame.wire)
    )
    return st.lists(one, max_size=8)


def as_frames(seen: list[Seen]) -> list[Frame]:
    """Return the twin's view of captured frames."""
    return [Frame(one.data, one.size, one.link, one.at_us) for one in seen]


@pytest.mark.parametrize(("order", "nano", "modified"), list(product("<>", [False, True], [False, True])))
def test_every_form_of_classic_pcap(order: str, nano: bool, modified: bool) -> None:
    rows, decoder = capture_rows(make.pcap(FRAMES, order, nano, modified))
    assert rows == twin_rows(as_frames(FRAMES))
    report = decoder.report
    assert (report.input_format, report.packet_count, report.row_count) == ("pcap", 5, 5)
    assert (report.first_us, report.last_us) == (FRAMES[0].at_us, FRAMES[-1].at_us)
    assert (report.malformed, report.is_cut, report.is_broken, report.link_types) == (
        {},
        False,
        False,
        {1: 5},
    )


@pytest.mark.parametrize("order", "<>")
def test_interfaces_of_pcapng_have_their_own_links_and_clocks(order: str) -> None:
    seen = [Seen(5_000_000, packets.in_link(packets.ip_bytes(packets.Segment(flags=2)), name)[1], link)
            for name, link in (("ethernet", 1), ("sll2", 276), ("raw", 101), ("null", 0))]  # fmt: skip
    data = (
        make.section(order)
        + make.interface(1, order)
        + make.interface(276, order, resolution=9)
        + make.interface(101, order, resolution=0x80 | 20, offset_s=2)
        + make.interface(0, order, resolution=0)
        + make.enhanced(seen[0], 0, order)
        + make.block(0xBAD, b"of someone", order)
        + make.enhanced(seen[1], 1, order, ticks=5_000_000_999)
        + make.enhanced(seen[2], 2, order, ticks=3 << 20)
        + make.enhanced(seen[3], 3, order, ticks=5)
    )
    rows, decoder = capture_rows(data)
    assert rows == twin_rows(as_frames(seen))
    assert decoder.report.link_types == {1: 1, 276: 1, 101: 1, 0: 1}
    assert decoder.report.passed_over == {"other_block": 1}


def test_simple_and_old_packet_blocks_and_several_sections() -> None:
    first, second = FRAMES[:2]
    data = make.section("<") + make.interface(1, "<", snaplen=60) + make.packet(first) + make.simple(second)
    data += make.section(">") + make.interface(1, ">") + make.packet(first, 0, ">") + make.simple(second, ">")
    rows, decoder = capture_rows(data)
    # A simple block has no time: that of the packet before. Its snaplen is the interface's.
    without_time = Seen(first.at_us, second.data)
    assert rows == twin_rows(as_frames([first, without_time.cut(60), first, without_time]))
    assert decoder.report.malformed == {}


@pytest.mark.parametrize("resolution", [0, 3, 6, 9, 12, 13, 19, 25, 26, 127, 128, 130, 168, 169, 192, 255])
def test_times_of_any_resolution_stay_in_range(resolution: int) -> None:
    per_s = 2 ** (resolution & 127) if resolution & 128 else 10**resolution
    for ticks in (0, 1, 12345678901234567, 2**63, 2**64 - 1):
        data = make.section() + make.interface(1, resolution=resolution)
        data += make.enhanced(FRAMES[0], ticks=ticks)
        rows, _ = capture_rows(data)
        seconds, rest = divmod(ticks, per_s)
        exact = min(seconds, container_kernel.SECONDS_MAX) * 10**6 + rest * 10**6 // per_s
        assert abs(rows[0]["at_us"] - exact) <= 1


def test_unsupported_link_types_are_named() -> None:
    _, decoder = capture_rows(make.pcap(FRAMES, link=147))
    assert decoder.report.unsupported_link_types == {147: 5}
    assert decoder.report.passed_over == {"link_type": 5}
    assert decoder.report.malformed == {}


def test_frames_cut_by_the_capture_still_give_rows() -> None:
    seen = [one.cut(80) for one in FRAMES]
    rows, decoder = capture_rows(make.pcap(seen))
    assert rows == twin_rows(as_frames(seen))
    assert [row["payload_bytes"] for row in rows] == [4] * 5
    assert decoder.report.truncated_count == 5


@settings(max_examples=80, deadline=None)
@given(seen_frames(), st.data())
def test_chunks_may_end_anywhere(seen: list[Seen], data: st.DataObject) -> None:
    content = make.pcapng(seen, data.draw(st.sampled_from("<>")))
    cuts = data.draw(st.lists(st.integers(0, len(content)), max_size=6))
    rows, decoder = capture_rows(content, cuts)
    assert rows == twin_rows(as_frames(seen))
    assert not decoder.report.is_cut


@settings(max_examples=80, deadline=None)
@given(seen_frames(1), st.data())
def test_chunks_of_classic_pcap_may_end_anywhere(seen: list[Seen], data: st.DataObject) -> None:
    content = make.pcap(seen, data.draw(st.sampled_from("<>")), modified=data.draw(st.booleans()))
    cuts = data.draw(st.lists(st.integers(0, len(content)), max_size=6))
    assert capture_rows(content, cuts)[0] == twin_rows(as_frames(seen))


@pytest.mark.parametrize("content", [make.pcap(FRAMES), make.pcapng(FRAMES)], ids=["pcap", "pcapng"])
def test_byte_by_byte_and_cut_at_every_length(content: bytes) -> None:
    whole, _ = capture_rows(content)
    assert capture_rows(content, range(1, len(content)))[0] == whole
    ends = set()
    for size in range(len(content)):
        rows, decoder = capture_rows(content[:size])
        assert rows == whole[: len(rows)]
        assert decoder.report.byte_count == size
        if not decoder.report.is_cut:
            ends.add(len(rows))
    # Only where a record ends (or the file has no byte yet) nothing is missing.
    assert ends == set(range(len(FRAMES)))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.sampled_from([b"", make.pcap(FRAMES), make.pcapng(FRAMES)]), st.data())
def test_garbage_is_counted_and_never_raises(noise: bytes, content: bytes, data: st.DataObject) -> None:
    broken = bytearray(content + noise)
    for _ in range(data.draw(st.integers(0, 6))):
        if broken:
            broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    cuts = data.draw(st.lists(st.integers(0, len(broken)), max_size=4))
    rows, decoder = capture_rows(bytes(broken))
    again, other = capture_rows(bytes(broken), cuts)
    assert rows == again
    assert decoder.report == other.report
    assert decoder.report.byte_count == len(broken)


def test_no_capture_at_all_is_said() -> None:
    _, decoder = capture_rows(b"%PDF-1.7 and what follows it, some bytes more")
    report = decoder.report
    assert (report.input_format, report.is_broken, report.malformed) == ("", True, {"magic": 1})
    assert report.ignored_byte_count == report.byte_count == 45
    assert capture_rows(b"short")[1].report.is_cut
    assert not capture_rows(b"")[1].report.is_cut


def test_a_length_that_cannot_be_ends_the_reading() -> None:
    good = make.pcap(FRAMES)
    rows, decoder = capture_rows(good + struct.pack("<IIII", 1, 1, 2**31, 2**31) + good)
    assert len(rows) == 5
    assert decoder.report.malformed == {"record": 1}
    assert decoder.report.ignored_byte_count == 16 + len(good)
    rows, decoder = capture_rows(make.pcapng(FRAMES) + struct.pack("<III", 6, 14, 0) + good)
    assert (len(rows), decoder.report.is_broken) == (5, True)


def test_blocks_too_long_to_hold_are_passed_over_without_holding_them() -> None:
    size = container_kernel.BLOCK_BYTES_MAX + 4
    long_block = make.block(0xBAD, bytes(size - 12))
    content = make.pcapng(FRAMES) + long_block * 3 + make.enhanced(FRAMES[0])
    rows, decoder = capture_rows(content, range(0, len(content), 100_000))
    assert len(rows) == 6
    assert decoder.report.passed_over == {"other_block": 3}
    cut = content[: -len(make.enhanced(FRAMES[0])) - 50]
    assert capture_rows(cut)[1].report.is_cut


def test_packets_of_unknown_interfaces_are_counted() -> None:
    content = make.pcapng(FRAMES) + make.enhanced(FRAMES[0], index=7) + make.enhanced(FRAMES[0], index=2**31)
    rows, decoder = capture_rows(content)
    assert len(rows) == 5
    assert decoder.report.malformed == {"interface": 2}


def test_a_long_capture_is_read_in_bounded_memory() -> None:
    content = make.pcap([FRAMES[0].cut(90)])
    head, record = content[:24], content[24:]

    class Endless:
        """A file of 60 MB that is never held."""

        def __init__(self) -> None:
            self.left = 600_000

        def read(self, size: int = -1) -> bytes:
            if self.left == 600_000:
                self.left -= 1
                return head
            count = min(max(size // len(record), 1), self.left)
            self.left -= count
            return record * count

    list(read_capture(io.BytesIO(content)))  # compiled by now
    tracemalloc.start()
    decoder = CaptureDecoder(9)
    count = sum(len(records) for records in read_capture(Endless(), decoder=decoder))  # type: ignore[arg-type]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == decoder.report.row_count == 599_999
    assert peak < 8 * CHUNK_BYTES


def test_one_big_chunk_gives_what_many_give() -> None:
    content = make.pcap([one.cut(60) for one in FRAMES] * 20_000)
    decoder = CaptureDecoder(4)
    records = decoder.feed(content)
    assert len(records) == 100_000
    assert set(records.observer.tolist()) == {4}
    pieces = PacketRecords.joined(list(read_capture(io.BytesIO(content), observer=4, chunk_bytes=77_777)))
    assert all((getattr(pieces, name) == getattr(records, name)).all() for name in ("at_us", "seq", "has"))
    assert rows_of(records.rows(slice(5))) == rows_of(pieces.rows(slice(5)))


def test_warming_up_is_enough_for_both_formats() -> None:
    warm_up()
    compiled = (container_kernel.walk_pcap, container_kernel.walk_pcapng, frame_kernel.read_frames)
    before = [len(one.signatures) for one in compiled]  # type: ignore[attr-defined]
    assert all(before)
    capture_rows(make.pcap(FRAMES))
    capture_rows(make.pcapng(FRAMES))
    assert [len(one.signatures) for one in compiled] == before  # type: ignore[attr-defined]
